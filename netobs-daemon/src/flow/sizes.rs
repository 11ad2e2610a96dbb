//! Drops and ICMP errors that are about a packet's size, as events.

use netobs_common::counters::family;
use netobs_common::trail::{Point, hook};

use super::reasons::DropReasons;
use super::translation;
use crate::event::joined::{Joined, JoinedKind, SizeFailure, StandsFor};
use crate::event::raw::{RawDrop, RawIcmp};

/// Whether a drop is one of a packet that was too big. Where the kernel does not say why, the lengths do.
pub fn is_too_big(drop: &RawDrop, reasons: &DropReasons) -> bool {
    let reason = Some(drop.reason);
    reason == reasons.too_big || reason == reasons.unspecified && drop.exceeded_mtu().is_some()
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
    Joined {
        stands_for,
        reference: 0,
        evidence: Vec::new(),
        boot_ns: context.map(|context| context.boot_ns).unwrap_or_default(),
        count,
        context,
        netns: context.and_then(|context| context.netns),
        ifindex: context.and_then(|context| context.ifindex),
        tuple,
        nat: tuple.zip(conntrack).and_then(|(tuple, entry)| translation::of_packet(&tuple, &entry)),
        points,
        kind: JoinedKind::Mtu(Box::new(failure)),
    }
}
