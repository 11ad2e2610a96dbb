//! Tables for people.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::render::clean;

/// Columns of a terminal below which nothing is fitted into it.
const NARROWEST: u16 = 40;

/// Appends a table with its title.
pub fn section<const N: usize>(
    text: &mut String,
    title: &str,
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // A terminal that does not know its width says that it has none; a letter a line is no table.
    if table.width().is_some_and(|width| width < NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(|cell| clean(&cell)));
    }
    if table.is_empty() {
        let _ = writeln!(text, "\n{title}: none");
    } else {
        let _ = writeln!(text, "\n{title}\n{}", table.trim_fmt());
    }
}
