//! Wall time of an event: its boot time plus an offset that is followed.
//!
//! The kernel stamps records with `CLOCK_BOOTTIME`, which never jumps. Wall time does (NTP, an operator), so the offset
//! between the two is read again whenever an event is a second newer than the last reading.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Boot time after which the offset is read again, nanoseconds.
const REFRESH_NS: u64 = 1_000_000_000;

/// Turns boot time into wall time.
#[derive(Debug)]
pub struct WallClock {
    /// `CLOCK_REALTIME` - `CLOCK_BOOTTIME`, nanoseconds.
    offset: AtomicI64,
    /// Boot time of the last reading, nanoseconds.
    read_at: AtomicU64,
}

impl WallClock {
    /// A clock with the offset of this moment.
    pub fn new() -> Self {
        let clock = Self { offset: AtomicI64::new(0), read_at: AtomicU64::new(0) };
        clock.refresh();
        clock
    }

    /// Wall time of an event at `boot_ns` (`CLOCK_BOOTTIME`, nanoseconds).
    pub fn wall(&self, boot_ns: u64) -> Timestamp {
        if boot_ns.saturating_sub(self.read_at.load(Ordering::Relaxed)) >= REFRESH_NS {
            self.refresh();
        }
        to_wall(boot_ns, self.offset.load(Ordering::Relaxed))
    }

    /// Reads the offset again.
    pub fn refresh(&self) {
        // Of three readings the one with the least time between its two readings of boot time: a preemption in
        // between would shift the offset by as much.
        let best = (0..3)
            .map(|_| {
                let before = nanoseconds(clock_gettime(ClockId::Boottime));
                let real = nanoseconds(clock_gettime(ClockId::Realtime));
                let after = nanoseconds(clock_gettime(ClockId::Boottime));
                (after - before, real - (before + (after - before) / 2), after)
            })
            .min_by_key(|reading| reading.0);
        if let Some((_, offset, boot)) = best {
            self.offset.store(offset, Ordering::Relaxed);
            self.read_at.store(u64::try_from(boot).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

/// `CLOCK_BOOTTIME` now, nanoseconds.
pub fn boot_now() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// A boot time beyond what a timestamp can hold is a broken record: it becomes the last moment that can be told.
fn to_wall(boot_ns: u64, offset: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(boot_ns) + i128::from(offset)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_now() {
        let clock = WallClock::new();
        let difference = clock.wall(boot_now()).duration_since(Timestamp::now()).abs();
        assert!(difference.as_millis() < 1_000, "{difference}");
    }

    #[test]
    fn follows_the_wall_clock() {
        let clock = WallClock::new();
        clock.offset.store(0, Ordering::Relaxed);
        clock.read_at.store(0, Ordering::Relaxed);
        // The stored reading is old, so the wrong offset does not survive.
        assert!(clock.wall(boot_now().max(REFRESH_NS)) > Timestamp::from_second(1_600_000_000).unwrap_or_default());
    }

    #[test]
    fn a_broken_time_does_not_panic() {
        assert!(to_wall(u64::MAX, i64::MAX) > Timestamp::UNIX_EPOCH);
        assert!(to_wall(0, i64::MIN) < Timestamp::UNIX_EPOCH);
    }
}
