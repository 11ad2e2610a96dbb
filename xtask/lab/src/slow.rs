//! One factor for machines that are slower than real ones, such as emulated ones: all waiting for something to happen is
//! longer by it, and so are the times that something may take. How long a case is silent, how far apart packets are sent
//! and what counts as late for the daemon's peers stays as it is.

use std::sync::OnceLock;
use std::time::Duration;

/// The variable that holds it: a whole number of times.
const VARIABLE: &str = "NETOBS_LAB_SLOW";

/// How long to wait here for what takes at most this time on a real machine.
pub(crate) fn patience(time: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    time.saturating_mul(*FACTOR.get_or_init(|| factor(std::env::var(VARIABLE).ok().as_deref())))
}

/// Without a number, and with 0: once.
fn factor(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn the_factor_is_never_less_than_one() {
        assert_eq!([None, Some(""), Some("0"), Some("-3"), Some("x")].map(factor), [1; 5]);
        assert_eq!(factor(Some("12")), 12);
    }
}
