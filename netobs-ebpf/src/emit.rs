//! Getting a record out: reserve, fill, submit, and wake the reader only if it sleeps.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};

use crate::maps::ARMED;

/// Four single bytes that follow each other in a record, as one word.
#[inline(always)]
pub const fn bytes(first: u8, second: u8, third: u8, fourth: u8) -> u32 {
    first as u32 | (second as u32) << 8 | (third as u32) << 16 | (fourth as u32) << 24
}

/// Flags for the submission of a record.
///
/// A wake-up costs the reader microseconds, so it is asked for only by the producer that finds the reader's armed flag
/// set and clears it. The reader sets the flag before it sleeps and looks at the ring once more after that; see
/// ARCHITECTURE.md, "Wake-up".
#[inline(always)]
pub fn wake_flags() -> u64 {
    let Some(armed) = ARMED.get_ptr_mut(0) else { return u64::from(BPF_RB_FORCE_WAKEUP) };
    // SAFETY: array values live as long as the map. Two CPUs may both read 1: one wake-up too many, none too few.
    unsafe {
        if core::ptr::read_volatile(armed) == 0 {
            return u64::from(BPF_RB_NO_WAKEUP);
        }
        core::ptr::write_volatile(armed, 0);
    }
    u64::from(BPF_RB_FORCE_WAKEUP)
}
