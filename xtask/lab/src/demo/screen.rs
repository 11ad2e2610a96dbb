//! How the demo writes: marks, times, and lines that fit the terminal.

use std::fmt::Display;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// Columns where the output is no terminal.
const COLUMNS: usize = 100;
/// Columns below which wrapping does more harm than good.
const COLUMNS_MIN: usize = 50;
/// Indent of all that belongs to a fault.
pub const INDENT: &str = "     ";

/// Of headings.
pub const STRONG: Style = Style::new().bold();
/// Of what is not news.
pub const QUIET: Style = Style::new().dimmed();
/// Of marks for what went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Of marks for what did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// Text in a style.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints a line in that indent, wrapped at blanks to the terminal's width; continued lines are indented by as many
/// columns more.
pub fn line(text: &str, indent: &str, more: usize) {
    let columns = comfy_table::Table::new().width().map_or(COLUMNS, usize::from).max(COLUMNS_MIN);
    anstream::println!("{}", wrap(text, columns, indent, more));
}

/// A step of the set-up that is done.
pub fn step(text: &str, took: Duration) {
    let mark = styled(GOOD, "✓");
    let took = styled(QUIET, format_args!("{:5.2} s", took.as_secs_f64()));
    line(&format!("{took}  {mark} {text}"), "  ", 11);
}

/// A duration as people compare it: milliseconds with three digits.
pub fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..9.995 => format!("{ms:.2} ms"),
        ..99.95 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// Columns that a text takes, escape sequences aside.
fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(|part| part.chars().count()).sum()
}

fn wrap(text: &str, limit: usize, indent: &str, more: usize) -> String {
    let mut out = indent.to_owned();
    let mut used = columns(indent);
    for (number, word) in text.split(' ').enumerate() {
        let width = columns(word);
        if number > 0 && used + 1 + width > limit {
            out.push('\n');
            out.push_str(indent);
            out.push_str(&" ".repeat(more));
            used = columns(indent) + more;
        } else if number > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_by_what_is_seen() {
        assert_eq!(wrap("one two  three", 40, "  ", 2), "  one two  three");
        assert_eq!(wrap("one two three four", 10, " ", 2), " one two\n   three\n   four");
        let red = styled(BAD, "one");
        assert_eq!(wrap(&format!("{red} two"), 8, " ", 0), format!(" {red} two"));
        assert_eq!(wrap("averyveryverylongword x", 8, "", 1), "averyveryverylongword\n x");
    }

    #[test]
    fn times_have_three_digits() {
        let text = |us| milliseconds(Duration::from_micros(us));
        assert_eq!([text(740), text(12_340), text(123_456)], ["0.74 ms", "12.3 ms", "123 ms"]);
    }
}
