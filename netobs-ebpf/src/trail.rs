//! Remembering where a packet was met, see `netobs_common::trail`.

use crate::load::low;
use netobs_common::trail::{CpuState, Point, TRAIL_POINTS, Trail, hook, slot};

/// The trail that a packet at this address uses, whosever it is now. `packet` is a kernel pointer.
#[inline(always)]
pub fn of(state: &mut CpuState, packet: u64) -> &mut Trail {
    let index = slot(low(packet));
    // SAFETY: `slot` is below TRAILS; spelt so that no bounds check (a panic) is compiled in.
    unsafe { state.trails.get_unchecked_mut(index) }
}

/// Starts a trail: the packet has just come into this namespace. The address is taken away first and written last, so
/// that a program that nests in between (softirq in process context) never finds it with another packet's facts.
#[inline(always)]
pub fn start(trail: &mut Trail, packet: u64, digest: u32, point: Point) {
    forget(trail);
    trail.digest = digest;
    trail.recorded = 0;
    trail.length = 1;
    trail.points[0] = point;
    // SAFETY: a field of a map value of ours. Volatile keeps the order on this CPU, where alone it matters.
    unsafe { core::ptr::write_volatile(&raw mut trail.packet, packet) };
}

/// Ends a trail: the packet is gone, and its address is free for another.
#[inline(always)]
pub fn forget(trail: &mut Trail) {
    // SAFETY: as in `start`.
    unsafe { core::ptr::write_volatile(&raw mut trail.packet, 0) };
}

/// Adds a point to the trail of a packet that is on its way. A full trail keeps its oldest points.
#[inline(always)]
pub fn add(trail: &mut Trail, point: Point) {
    let length = trail.length as usize;
    if length < TRAIL_POINTS {
        // SAFETY: just checked.
        unsafe { *trail.points.get_unchecked_mut(length) = point };
        trail.length = (length + 1) as u32;
    }
}

/// The hook the packet was met in last; 0: in none.
#[inline(always)]
pub fn last_hook(trail: &Trail) -> u32 {
    let index = (trail.length as usize).wrapping_sub(1);
    // SAFETY: just checked.
    if index < TRAIL_POINTS { unsafe { trail.points.get_unchecked(index) }.hook } else { 0 }
}

/// A point in a tcx hook.
#[inline(always)]
pub const fn tcx_point(hook: u32, ifindex: u32) -> Point {
    Point { ifindex, out_ifindex: 0, hook }
}

/// A point in a netfilter hook.
#[inline(always)]
pub const fn netfilter_point(number: u8, input: u32, output: u32) -> Point {
    Point { ifindex: input, out_ifindex: output, hook: hook::NETFILTER + (number & 7) as u32 }
}
