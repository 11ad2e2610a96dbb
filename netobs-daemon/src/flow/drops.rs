//! A drop by itself, as an event.

use netobs_common::counters::family;

use super::translation;
use crate::event::joined::{Joined, JoinedKind, StandsFor};
use crate::event::raw::RawDrop;

/// The event.
pub fn joined(mut drop: Box<RawDrop>) -> Joined {
    let (tuple, conntrack, context) = (drop.tuple, drop.conntrack, drop.context);
    Joined {
        tuple,
        nat: tuple.zip(conntrack).and_then(|(tuple, entry)| translation::of_packet(&tuple, &entry)),
        points: std::mem::take(&mut drop.points),
        ..Joined::of_record(StandsFor::Record(family::DROP), context, JoinedKind::Drop(drop))
    }
}
