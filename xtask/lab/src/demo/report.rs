//! The end of the demo: what was seen, what was missed, what was said without cause.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use super::fault::Fault;
use super::screen::{self, BAD, GOOD, INDENT, STRONG, milliseconds, styled};
use super::watch::{Watch, Watched};

/// Columns of the table where the output is no terminal.
const COLUMNS: u16 = 100;

/// Says what became of a fault.
pub fn verdict(watch: &Watch, fault: usize) {
    let missed: Vec<_> = watch.of(fault).filter(|entry| entry.seen.is_none()).map(|e| e.expected.label).collect();
    if missed.is_empty() {
        let times = watch.of(fault).filter_map(|entry| Some((entry.expected.label, entry.seen?)));
        let times: Vec<_> = times.map(|(label, time)| format!("{label} {}", milliseconds(time))).collect();
        let text = format!("{} as it should be; packet to stream: {}", styled(GOOD, "✓ seen"), times.join(", "));
        screen::line(&text, INDENT, 2);
    } else {
        let text = format!("{} as it should be: {}", styled(BAD, "✗ not seen"), missed.join(", "));
        screen::line(&text, INDENT, 2);
    }
}

/// Prints the account. Whether all is well.
pub fn summary(faults: &[Fault], watch: &Watch) -> bool {
    let is_seen = |fault: &usize| watch.of(*fault).all(|entry| entry.seen.is_some());
    let seen = (1..=faults.len()).filter(is_seen).count();
    let (stray_count, strays) = watch.strays();
    let good = seen == faults.len() && stray_count == 0;
    let mark = if good { styled(GOOD, "✓") } else { styled(BAD, "✗") };
    let times: Vec<_> = watch.entries().iter().filter_map(|entry| entry.seen).collect();
    anstream::println!();
    screen::line(
        &format!(
            "{mark} {}, {}{}",
            styled(STRONG, format_args!("{seen} of {} faults seen with the right names at both ends", faults.len())),
            false_alarms(stray_count),
            range(&times)
        ),
        "",
        2,
    );
    if seen < faults.len() {
        anstream::println!("\n{}", missed(faults, watch));
    }
    if stray_count > 0 {
        anstream::println!("\nSaid without such a fault:");
        for summary in strays {
            screen::line(summary, "  ", 2);
        }
        if stray_count > strays.len() {
            anstream::println!("  and {} more", stray_count - strays.len());
        }
    }
    good
}

fn false_alarms(count: usize) -> String {
    match count {
        0 => "no false alarms".into(),
        1 => "1 false alarm".into(),
        _ => format!("{count} false alarms"),
    }
}

fn range(times: &[Duration]) -> String {
    match (times.iter().min(), times.iter().max()) {
        (Some(least), Some(most)) => format!("; packet to stream {} to {}", milliseconds(*least), milliseconds(*most)),
        _ => String::new(),
    }
}

fn missed(faults: &[Fault], watch: &Watch) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(COLUMNS);
    }
    table.set_header(["fault", "packet", "what is wrong"]);
    for entry in watch.entries().iter().filter(|entry| entry.seen.is_none()) {
        let title = faults.get(entry.fault - 1).map_or("", |fault| &fault.title);
        table.add_row([format!("{}. {title}", entry.fault), entry.expected.label.to_owned(), what_is_wrong(entry)]);
    }
    table
}

fn what_is_wrong(entry: &Watched) -> String {
    if entry.wrong.is_empty() { "no event about it".into() } else { entry.wrong.join("\n") }
}
