//! Points in time as people give them: RFC 3339, or a duration that means so long ago.

use jiff::{SignedDuration, Timestamp};

/// What [`parse`] takes, for error messages.
pub const EXPECTED: &str = "an RFC 3339 time like 2026-01-31T12:00:00Z, or a duration like 90s, 5m, 1h30m or 2d meaning \
                            that long ago";

/// Parses a point in time relative to `now`.
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago).ok();
    }
    text.parse().ok().or_else(|| {
        // An unescaped '+' of a zone offset arrives as a space.
        let (time, zone) = text.rsplit_once(' ')?;
        format!("{time}+{zone}").parse().ok()
    })
}

/// One or more numbers with a unit each (`ms`, `s`, `m`, `h`, `d`).
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut sum = SignedDuration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let milliseconds = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[letters..];
        sum = sum.checked_add(SignedDuration::from_millis(number.checked_mul(milliseconds)?))?;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Option<&str>) {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(parse(text, now), expected.map(|time| time.parse().unwrap()), "{text:?}");
    }

    #[test]
    fn forms() {
        check("5m", Some("2026-01-31T11:55:00Z"));
        check("1h30m", Some("2026-01-31T10:30:00Z"));
        check("2d", Some("2026-01-29T12:00:00Z"));
        check("1500ms", Some("2026-01-31T11:59:58.5Z"));
        check("2026-01-30T00:00:00.25Z", Some("2026-01-30T00:00:00.25Z"));
        check("2026-01-30T02:00:00+02:00", Some("2026-01-30T00:00:00Z"));
        check("2026-01-30T02:00:00 02:00", Some("2026-01-30T00:00:00Z"));
        for wrong in ["", "5", "m", "-5m", "5y", "5m3", "yesterday", "9999999999999999999d", "9223372036854775807ms"] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not(text in "\\PC*", numbers in "[0-9]{0,20}[smhd]{0,3}") {
            let _ = parse(&text, Timestamp::MIN);
            let _ = parse(&numbers, Timestamp::MIN);
        }
    }
}
