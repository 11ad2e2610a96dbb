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

/// Starts a trail: the packet has just come into this namespace.
#[inline(always)]
pub fn start(trail: &mut Trail, packet: u64, digest: u32, point: Point) {
    trail.packet = packet;
    trail.digest = digest;
    trail.recorded = 0;
    trail.length = 1;
    trail.points[0] = point;
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
