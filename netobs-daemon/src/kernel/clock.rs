//! Time: `CLOCK_BOOTTIME`, which the kernel programs stamp records with, and its distance to the wall clock.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_BOOTTIME` now, in nanoseconds.
pub fn boot_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// Wall-clock time (nanoseconds since 1970, UTC) minus boot time. Changes whenever the wall clock is set or slewed, so
/// ask again every few seconds.
pub fn wall_offset_ns() -> i64 {
    // The two clocks cannot be read at once: take the reading that was interrupted least.
    let reading = || {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        (after - before, wall - i64::midpoint(before, after))
    };
    let (_, offset) = [reading(), reading(), reading()].into_iter().min().unwrap_or_default();
    offset
}

fn nanoseconds(time: Timespec) -> i64 {
    // 63 bits of nanoseconds last until 2262.
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn boot_time_plus_offset_is_wall_time() {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let ours = i128::from(boot_ns()) + i128::from(wall_offset_ns());
        assert!((ours - i128::try_from(wall).unwrap()).abs() < 1_000_000_000, "{ours} {wall}");
    }
}
