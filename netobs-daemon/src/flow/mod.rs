//! The flow and evidence table, between decode and publish: one packet is one event, a DNS answer finds its question,
//! and what failed finds the drops that explain it. Pure and bounded.
//!
//! Every record that goes in comes out once, or is accounted for: `ingested = emitted + folded + pending + evicted`
//! holds after every call, see [`FlowStats`]. A question that is answered is one emitted (the question) and one folded
//! (the answer); one that is not is emitted when its time is up.
//!
//! Records of one packet are found by its identity (address of the `sk_buff`, digest of what forwarding leaves alone)
//! within [`packets::SAME_PACKET_NS`]; records of one question by its client, id, name and type. Kernel memory is
//! reused at once for the next packet, so identity alone never joins two records made at one place: there the second
//! record is another packet.

mod coalesced;
mod exchange;
mod key;
mod packets;
mod questions;
mod references;
mod translation;

use std::collections::HashMap;

use netobs_common::record::BucketKey;

use crate::event::headers::protocol::UDP;
use crate::event::joined::{Joined, JoinedKind};
use crate::event::raw::{RawDrop, RawEvent, Tuple};
use key::FlowKey;
use packets::RecentPackets;
use questions::{Fate, Questions};
use references::DropReferences;

/// Keys come off the wire, so the hasher has a random seed.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Bounds of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// DNS questions that wait for an answer; as many settled ones are remembered for a moment.
    pub questions: usize,
    /// Packets remembered, of each family.
    pub packets: usize,
    /// Drops remembered as evidence.
    pub references: usize,
    /// How long a DNS answer is waited for, nanoseconds.
    pub dns_timeout_ns: u64,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            questions: 16_384,
            packets: 16_384,
            references: 8_192,
            // What glibc's resolver waits before it asks again (resolv.conf(5), `timeout`).
            dns_timeout_ns: 5_000_000_000,
        }
    }
}

/// The table's part of the loss ledger: `ingested = emitted + folded + pending + evicted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// Records that went in.
    pub ingested: u64,
    /// Records that came out as events of their own.
    pub emitted: u64,
    /// Records that became part of another event, or (`no_question`) of none.
    pub folded: u64,
    /// Questions that wait for an answer.
    pub pending: u64,
    /// Questions forgotten while they waited, because there was no room: their outcome is not told.
    pub evicted: u64,
    /// Of `folded`: DNS queries without a question section.
    pub no_question: u64,
    /// Not records: summaries of coalesced bursts.
    pub summaries: u64,
    /// Not records: packets whose identity was forgotten before its time, so that another sighting of one may have
    /// become an event of its own.
    pub evicted_packets: u64,
    /// Not records: drops forgotten as evidence before their time.
    pub evicted_references: u64,
}

/// Where a drop was recorded: two drops with one identity at one place are two packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dropped {
    tuple: Option<Tuple>,
    location: u64,
    netns: Option<u32>,
    ifindex: Option<u32>,
}

impl Dropped {
    fn of(drop: &RawDrop) -> Self {
        let RawDrop { tuple, location, context, .. } = drop;
        Self { tuple: *tuple, location: *location, netns: context.netns, ifindex: context.ifindex }
    }
}

/// The table.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    drops: RecentPackets<Dropped>,
    references: DropReferences,
    questions: Questions,
    last_reference: u64,
    stats: FlowStats,
}

impl FlowTable {
    /// An empty table.
    pub fn new(limits: FlowLimits) -> Self {
        Self {
            limits,
            drops: RecentPackets::new(limits.packets),
            references: DropReferences::new(limits.references),
            questions: Questions::new(limits.questions, limits.packets, limits.dns_timeout_ns),
            last_reference: 0,
            stats: FlowStats::default(),
        }
    }

    /// Takes a record; the events that it completes are appended to `out`. A DNS message first times out what its own
    /// time has passed, so an answer that comes too late is too late however long the records waited to be read.
    pub fn ingest(&mut self, event: RawEvent, out: &mut Vec<Joined>) {
        self.stats.ingested += 1;
        match event {
            RawEvent::Drop(drop) => self.ingest_drop(drop, out),
            RawEvent::Dns(dns) => {
                self.time_out(dns.context.boot_ns, out);
                match self.questions.ingest(*dns) {
                    Fate::Pending => {}
                    Fate::Folded => self.stats.folded += 1,
                    Fate::Nothing => {
                        self.stats.folded += 1;
                        self.stats.no_question += 1;
                    }
                    Fate::Settled(joined) => {
                        self.stats.folded += 1;
                        self.emit(joined, out);
                    }
                    Fate::Unasked(joined) => {
                        self.emit(joined, out);
                    }
                }
            }
        }
    }

    fn ingest_drop(&mut self, mut drop: Box<RawDrop>, out: &mut Vec<Joined>) {
        let context = drop.context;
        let dropped = Dropped::of(&drop);
        if self.drops.get(&context).is_some_and(|first| first.tuple == dropped.tuple && *first != dropped) {
            self.stats.folded += 1;
            return;
        }
        self.drops.insert(&context, dropped);
        let (tuple, conntrack) = (drop.tuple, drop.conntrack);
        let joined = Joined {
            reference: 0,
            evidence: Vec::new(),
            boot_ns: context.boot_ns,
            count: 1,
            context: Some(context),
            netns: context.netns,
            ifindex: context.ifindex,
            tuple,
            nat: tuple.zip(conntrack).and_then(|(tuple, entry)| translation::of_packet(&tuple, &entry)),
            points: std::mem::take(&mut drop.points),
            kind: JoinedKind::Drop(drop),
        };
        let reference = self.emit(joined, out);
        // Only questions ask for evidence so far, and those go over UDP.
        let mut known: Vec<FlowKey> = Vec::new();
        for tuple in tuple.into_iter().chain(conntrack.into_iter().flat_map(|entry| [entry.original, entry.reply])) {
            let flow = FlowKey::of(context.netns, &tuple).filter(|flow| tuple.protocol == UDP && !known.contains(flow));
            if let Some(flow) = flow {
                self.references.insert(flow, context.boot_ns, reference);
                known.push(flow);
            }
        }
    }

    /// Settles the questions whose time is up by then (`CLOCK_BOOTTIME`, nanoseconds), and forgets what is old.
    pub fn expire(&mut self, now_boot_ns: u64, out: &mut Vec<Joined>) {
        self.time_out(now_boot_ns, out);
        self.drops.purge(now_boot_ns);
        // Twice, because a question may be told some time after its time was up.
        self.references.purge(now_boot_ns.saturating_sub(self.limits.dns_timeout_ns.saturating_mul(2)));
    }

    fn time_out(&mut self, now_ns: u64, out: &mut Vec<Joined>) {
        while let Some((exchange, mut joined)) = self.questions.time_out(now_ns) {
            let since = exchange.first_ns();
            joined.evidence =
                exchange.flows().flat_map(|flow| self.references.since(&flow, since).collect::<Vec<_>>()).collect();
            joined.evidence.sort_unstable();
            joined.evidence.dedup();
            joined.evidence.truncate(references::PER_FLOW);
            self.emit(joined, out);
        }
        self.questions.purge(now_ns);
    }

    /// The event for what a bucket has counted since it was last read: packets, their bytes, and when the last of
    /// them came. `None` for a key whose kind is unknown.
    pub fn coalesced(&mut self, key: &BucketKey, count: u64, bytes: u64, last_ns: u64) -> Option<Joined> {
        let mut joined = coalesced::joined(key, count, bytes, last_ns)?;
        joined.reference = self.next_reference();
        self.stats.summaries += 1;
        Some(joined)
    }

    /// When [`Self::expire`] is next needed, `CLOCK_BOOTTIME` nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.questions.next_deadline()
    }

    /// The ledger.
    pub fn stats(&self) -> FlowStats {
        FlowStats {
            pending: self.questions.pending() as u64,
            evicted: self.questions.evicted(),
            evicted_packets: self.drops.evicted() + self.questions.evicted_packets(),
            evicted_references: self.references.evicted(),
            ..self.stats
        }
    }

    fn emit(&mut self, mut joined: Joined, out: &mut Vec<Joined>) -> u64 {
        joined.reference = self.next_reference();
        self.stats.emitted += 1;
        let reference = joined.reference;
        out.push(joined);
        reference
    }

    fn next_reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }
}

#[cfg(test)]
mod tests;
