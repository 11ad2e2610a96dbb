//! Drops by netfilter that may have been answered with a reset (the REJECT target: `nf_send_reset`,
//! `net/ipv4/netfilter/nf_reject_ipv4.c`).

use std::net::SocketAddr;

use super::held::{HOLD_NS, close};
use super::references::DropReferences;
use super::translation::{self, Pair};
use crate::event::headers::protocol::TCP;
use crate::event::joined::{LastPoint, Translation};
use crate::event::raw::{Conntrack, RawDrop, Tuple};

/// A drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The number by which events name it.
    pub reference: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// Inode of the network namespace where it was.
    pub netns: Option<u32>,
    /// What was translated, as an answer to the packet goes.
    pub answer: Option<Translation>,
    /// Where the packet had been met last.
    pub at: Option<LastPoint>,
}

impl Rejection {
    /// The addresses that a reset has which answers the dropped packet, with the drop: those of the packet the other way
    /// round, before translation, after it, or as answers come back.
    pub fn of(drop: &RawDrop, at: Option<LastPoint>, reference: u64) -> Vec<(Pair, Self)> {
        let Some(tuple) = drop.tuple.filter(|tuple| tuple.protocol == TCP) else { return Vec::new() };
        let entry = drop.conntrack.filter(|entry| entry.original.protocol == TCP);
        let nat = entry.and_then(|entry| translation::of_packet(&tuple, &entry));
        let this = Self {
            reference,
            boot_ns: drop.context.boot_ns,
            netns: drop.context.netns,
            answer: nat.map(|nat| Translation { reply: !nat.reply, ..nat }),
            at,
        };
        let back = |tuple: &Tuple| pair(tuple).map(|(source, destination)| (destination, source));
        let mut pairs: Vec<Pair> = back(&tuple).into_iter().collect();
        if let Some(Conntrack { original, reply, .. }) = entry {
            let source = (tuple.source, tuple.source_port);
            let forth = source == (original.source, original.source_port)
                || source == (reply.destination, reply.destination_port);
            let (same, other) = if forth { (original, reply) } else { (reply, original) };
            pairs.extend(back(&same).into_iter().chain(pair(&other)));
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs.into_iter().map(|pair| (pair, this)).collect()
    }
}

fn pair(tuple: &Tuple) -> Option<Pair> {
    let source = SocketAddr::new(tuple.source, tuple.source_port?);
    Some((source, SocketAddr::new(tuple.destination, tuple.destination_port?)))
}

/// The drops of the last moments, by the addresses of the reset that they may have made.
#[derive(Debug)]
pub struct Rejections(DropReferences<Pair, Rejection>);

impl Rejections {
    /// Room for `limit`.
    pub fn new(limit: usize) -> Self {
        Self(DropReferences::new(limit))
    }

    /// Remembers a drop.
    pub fn insert(&mut self, rejections: Vec<(Pair, Rejection)>) {
        for (pair, rejection) in rejections {
            self.0.insert(pair, rejection.boot_ns, rejection);
        }
    }

    /// Drops that may have made a reset with these addresses at that time.
    pub fn of(&self, pair: Pair, boot_ns: u64) -> impl Iterator<Item = Rejection> {
        let since = boot_ns.saturating_sub(HOLD_NS);
        self.0.since(&pair, since).filter(move |rejection| close(rejection.boot_ns, boot_ns))
    }

    /// Forgets what is too old.
    pub fn purge(&mut self, now_ns: u64) {
        // Twice, because a reset may be read some time after it was made.
        self.0.purge(now_ns.saturating_sub(2 * HOLD_NS));
    }

    /// Drops forgotten before their time because there was no room.
    pub fn evicted(&self) -> u64 {
        self.0.evicted()
    }
}
