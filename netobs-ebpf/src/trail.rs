//! Remembering where a packet was met, see `netobs_common::trail`.

use netobs_common::trail::{CpuState, Point, TRAIL_POINTS, Trail, hook, slot, told};

use crate::load::low;
use crate::tcx::Place;

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
    trail.told = told::NOTHING;
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
    last_point(trail).hook
}

/// Whether the packet was met in this hook.
#[inline(always)]
pub fn has(trail: &Trail, hook: u32) -> bool {
    let mut index = 0;
    while index < TRAIL_POINTS {
        if index < trail.length as usize && trail.points[index].hook == hook {
            return true;
        }
        index += 1;
    }
    false
}

/// Where the packet was met last; all zero: nowhere.
#[inline(always)]
fn last_point(trail: &Trail) -> Point {
    let index = (trail.length as usize).wrapping_sub(1);
    // SAFETY: just checked.
    if index < TRAIL_POINTS { unsafe { *trail.points.get_unchecked(index) } } else { NOWHERE }
}

const NOWHERE: Point = Point { ifindex: 0, out_ifindex: 0, hook: 0 };

/// Which sight of a packet this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The first in this namespace: the packet is to be told, or counted.
    First,
    /// It was told whole, and translation has changed its addresses since.
    Translated,
    /// There is nothing more to tell of it.
    Repeated,
}

/// Which sight of its packet this is. `recorded` is the digest of the packet's addresses and ports. `came_in` says that
/// the packet came into the namespace by an interface before.
///
/// Packets are counted exactly once where they come into the namespace, or where they leave it without having come in.
/// That is known from the `sk_buff` itself, so a trail that is lost on the way (its packet went on to another CPU, or
/// another packet took its place) makes no second packet of it.
#[inline(always)]
pub fn sight(trail: &mut Trail, recorded: u32, place: Place, came_in: bool) -> Sight {
    let egress = place.hook == hook::TCX_EGRESS;
    if egress && !came_in && trail.told != told::NOTHING && was_here(trail) {
        // Nothing passes one interface twice: another packet, made here at the same address, and alike. Its way begins
        // with the last point.
        trail.points[0] = last_point(trail);
        trail.length = 1;
        trail.told = told::NOTHING;
    }
    if trail.told == told::NOTHING && (place.arrival || egress && !came_in) {
        trail.recorded = recorded;
        return Sight::First;
    }
    if trail.told == told::WHOLE && trail.recorded != recorded {
        trail.recorded = recorded;
        return Sight::Translated;
    }
    Sight::Repeated
}

/// Whether the trail's last point is there before, too.
#[inline(always)]
fn was_here(trail: &Trail) -> bool {
    let (last, point) = ((trail.length as usize).wrapping_sub(1), last_point(trail));
    let mut index = 0;
    while index < TRAIL_POINTS {
        if index < last
            && last < TRAIL_POINTS
            && trail.points[index].ifindex == point.ifindex
            && trail.points[index].hook == point.hook
        {
            return true;
        }
        index += 1;
    }
    false
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
