//! Order of Debian's version numbers (Debian policy manual, 5.6.12).

use std::cmp::Ordering;

/// Compares two version numbers as dpkg does.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left), split(right));
    left.0.cmp(&right.0).then_with(|| part(left.1, right.1)).then_with(|| part(left.2, right.2))
}

/// Epoch, upstream version, Debian revision.
fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    // An absent revision is older than any other but those that begin with a tilde, as an empty one is.
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch.parse().unwrap_or(0), upstream, revision)
}

/// Runs of other characters and runs of digits take turns.
fn part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let words = (take(&mut left, |byte| !byte.is_ascii_digit()), take(&mut right, |byte| !byte.is_ascii_digit()));
        let numbers = (take(&mut left, u8::is_ascii_digit), take(&mut right, u8::is_ascii_digit));
        let order = word(words.0, words.1).then_with(|| number(numbers.0, numbers.1));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a str, belongs: impl Fn(&u8) -> bool) -> &'a str {
    let length = text.bytes().take_while(|byte| belongs(byte)).count();
    let (head, tail) = text.split_at_checked(length).unwrap_or((text, ""));
    *text = tail;
    head
}

/// A tilde sorts before the end, the end before letters, letters before all else.
fn word(left: &str, right: &str) -> Ordering {
    let rank = |text: &str, at: usize| match text.as_bytes().get(at) {
        Some(b'~') => (0, b'~'),
        None => (1, 0),
        Some(byte) if byte.is_ascii_alphabetic() => (2, *byte),
        Some(byte) => (3, *byte),
    };
    (0..left.len().max(right.len()))
        .map(|at| rank(left, at).cmp(&rank(right, at)))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length, without leading zeros.
fn number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(older: &str, newer: &str) {
        assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
        assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
        assert_eq!(compare(newer, newer), Ordering::Equal, "{newer}");
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        check("6.1.99-1", "6.1.176-1");
        check("6.12.117-1~bpo12+1", "6.12.117-1");
        check("7.3~rc7-1~exp1", "7.3.4-1~bpo13+1");
        check("7.3~rc7-1", "7.3-1");
        check("6.1.176", "6.1.176-1");
        check("9.0-1", "1:1.0-1");
        check("1.0a-1", "1.0+b-1");
        check("1.0-1", "1.0-1+b1");
        check("6.12.115-2~deb12u1", "6.12.115-2");
    }

    #[test]
    fn leading_zeros_and_odd_text_do_no_harm() {
        assert_eq!(compare("1.01-1", "1.1-1"), Ordering::Equal);
        assert_eq!(compare("", ""), Ordering::Equal);
        check("", "ä");
        check("1.0", "1.ä");
    }
}
