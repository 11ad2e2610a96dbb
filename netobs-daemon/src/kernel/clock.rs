//! Time: `CLOCK_BOOTTIME`, which the kernel programs stamp records with.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_BOOTTIME` now, in nanoseconds.
pub fn boot_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i64 {
    // 63 bits of nanoseconds last until 2262.
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
