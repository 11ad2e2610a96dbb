//! Tables as Markdown, to be pasted into docs/performance.md as they are.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

/// Prints a table; all columns but the first are figures.
pub fn print(title: &str, header: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec()).add_rows(rows.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    anstream::println!("\n{title}\n\n{table}\n");
}

/// Nanoseconds, a number too large for them in microseconds.
pub fn ns(value: f64) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.0}") }
}

/// Milliseconds.
pub fn ms(value: f64) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.2}") }
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1_048_576.0)
}
