//! Drops and ICMP errors that are about a packet's size, as events.

use netobs_common::counters::family;
use netobs_common::trail::{Point, hook};

use super::reasons::DropReasons;
use super::translation;
use crate::event::joined::{Joined, JoinedKind, SizeFailure, StandsFor};
use crate::event::raw::{RawDrop, RawIcmp, is_group};

/// netfilter's `LOCAL_IN`, where a packet is for a socket of this namespace.
const INPUT: u32 = hook::NETFILTER + 1;

/// Whether a drop is one of a packet that was too big. Where the kernel does not say why, the lengths do.
pub fn is_too_big(drop: &RawDrop, reasons: &DropReasons) -> bool {
    let reason = Some(drop.reason);
    reason == reasons.too_big || reason == reasons.unspecified && does_not_fit(drop)
}

/// Whether a packet was on its way to an interface that it does not fit. It was not where it came in by the interface that it
/// is still at, or had arrived: such a packet is longer than that interface's MTU because its fragments were put together
/// (`ip_defrag`, `net/ipv4/ip_fragment.c`; `nf_ct_frag6_gather`), or because others send more than the interface would. And one
/// to a group is freed without a reason where nobody has joined it, whatever its length.
fn does_not_fit(drop: &RawDrop) -> bool {
    let arrived = drop.points.last().is_some_and(|last| last.hook == INPUT);
    let to_group = drop.tuple.is_some_and(|tuple| is_group(tuple.destination));
    if arrived || to_group {
        return false;
    }
    let came_in = drop.points.first().filter(|first| first.hook == hook::TCX_INGRESS).map(|first| first.ifindex);
    let at_entrance = came_in.is_some() && came_in == drop.context.ifindex;
    let ahead = if at_entrance { [drop.out_mtu, None, None] } else { [drop.out_mtu, drop.mtu, drop.peer_mtu] };
    ahead.into_iter().any(|mtu| drop.exceeds(mtu))
}

/// The place where an ICMP error was seen.
pub fn point(icmp: &RawIcmp) -> Point {
    let hook = if icmp.egress { hook::TCX_EGRESS } else { hook::TCX_INGRESS };
    Point { ifindex: icmp.context.ifindex.unwrap_or_default(), out_ifindex: 0, hook }
}

/// The event. `count` is of packets: several where they are fragments of one.
pub fn joined(mut failure: SizeFailure, count: u64) -> Joined {
    let icmp = failure.icmp.as_deref();
    let drop = failure.drop.as_deref();
    let context = drop.map(|drop| drop.context).or(icmp.map(|icmp| icmp.context));
    let tuple = drop.and_then(|drop| drop.tuple).or(icmp.and_then(|icmp| icmp.quoted).map(|quoted| quoted.tuple));
    let conntrack = drop.and_then(|drop| drop.conntrack);
    let stands_for = StandsFor::Record(if icmp.is_some() { family::MTU } else { family::DROP });
    let seen = icmp.map(point);
    let points = match &mut failure.drop {
        Some(drop) => std::mem::take(&mut drop.points),
        None => seen.into_iter().collect(),
    };
    let nat = tuple.zip(conntrack).and_then(|(tuple, entry)| translation::of_packet(&tuple, &entry));
    let kind = JoinedKind::Mtu(Box::new(failure));
    let joined = match context {
        Some(context) => Joined::of_record(stands_for, context, kind),
        // Cannot be: one of the two is there.
        None => Joined::new(stands_for, 0, kind),
    };
    Joined { count, tuple, nat, points, ..joined }
}
