//! One readable line per event.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::event::observation::{Observation, Severity};

/// How much a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Time of day, kind, sentence.
    Text,
    /// With date, count, interface and id.
    Wide,
}

/// The line of an event, with colours and without a line feed. Times are in `zone`.
pub fn line(event: &Observation, detail: Detail, zone: &TimeZone) -> String {
    let dim = Style::new().dimmed();
    let kind_style = match event.severity {
        Severity::Problem => AnsiColor::Red.on_default().bold(),
        Severity::Info => AnsiColor::Green.on_default(),
    };
    let format = if detail == Detail::Wide { "%Y-%m-%d %H:%M:%S%.6f%:z" } else { "%H:%M:%S%.3f" };
    let time = match event.time.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => clean(&event.time),
    };
    let kind = event.kind.name().to_uppercase();
    // The column before it says the kind.
    let prefix = format!("{}: ", event.kind.name());
    let summary = clean(event.summary.strip_prefix(&prefix).unwrap_or(&event.summary));
    let mut line = format!("{dim}{time}{dim:#} {kind_style}{kind:<4}{kind_style:#} {summary}");
    if event.count > 1 {
        let _ = write!(line, " {dim}(x{}){dim:#}", event.count);
    }
    if detail == Detail::Wide {
        let interface = event.interface.as_deref().map(clean).unwrap_or_default();
        let _ = write!(line, " {dim}interface={interface} id={}{dim:#}", clean(&event.id));
    }
    line
}

/// Without characters that a terminal would act upon: names in DNS questions come from anybody.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::samples;

    fn plain(event: &Observation, detail: Detail) -> String {
        anstream::adapter::strip_str(&line(event, detail, &TimeZone::UTC)).to_string()
    }

    #[test]
    fn lines() {
        let mut event = samples::drop("shop", "cart", "NETFILTER_DROP");
        event.time = "2026-01-31T12:00:00.123456789Z".into();
        event.id = "node.00000001.1.7".into();
        assert_eq!(plain(&event, Detail::Text), "12:00:00.123 DROP shop/cart -> data/db-0: NETFILTER_DROP");
        event.count = 3;
        assert_eq!(
            plain(&event, Detail::Wide),
            "2026-01-31 12:00:00.123456+00:00 DROP shop/cart -> data/db-0: NETFILTER_DROP (x3) interface=veth0 \
             id=node.00000001.1.7"
        );
        assert!(line(&event, Detail::Text, &TimeZone::UTC).contains("\u{1b}[1m\u{1b}[31mDROP"));
        let mut event = samples::dns("shop", "cart", true);
        event.time = "2026-01-31T12:00:00Z".into();
        event.summary = "dns: shop/cart asked".into();
        assert_eq!(plain(&event, Detail::Text), "12:00:00.000 DNS  shop/cart asked");
    }

    #[test]
    fn a_terminal_is_not_attacked() {
        let mut event = samples::dns("shop", "cart", true);
        event.summary = "asked for \u{1b}]0;owned\u{7}\r\n".into();
        assert!(plain(&event, Detail::Text).ends_with("asked for \u{fffd}]0;owned\u{fffd}\u{fffd}\u{fffd}"));
    }
}
