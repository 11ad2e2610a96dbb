//! The flow and evidence table, between decode and publish: one packet is one event, a DNS answer finds its question,
//! and what failed finds the drops that explain it. Pure and bounded.
//!
//! Every record that goes in comes out once, or is accounted for: `ingested = emitted + folded + pending + evicted`
//! holds after every call and for each family, see [`FlowStats`]. A question that is answered is one emitted (the question)
//! and one folded (the answer); one that is not is emitted when its time is up.
//!
//! The halves of other events (a drop and the ICMP error about it, a reset and what sockets say of it) are microseconds apart,
//! but come by different rings, in any order: what may have another half waits for it, see `held::HOLD_NS`. Nothing is given
//! up before [`FlowTable::expire`] is called, so not before all that was written by then has been read.
//!
//! Records of one packet are found by its identity (address of the `sk_buff`, digest of what forwarding leaves alone)
//! within 50 ms; records of one question by its client, id, name and type. Kernel memory is
//! reused at once for the next packet, so identity alone never joins two records made at one place: there the second
//! record is another packet.

mod books;
mod coalesced;
mod drops;
mod exchange;
mod fragments;
mod held;
mod key;
mod packets;
mod questions;
mod reasons;
mod references;
mod refusals;
mod rejections;
mod reset_cause;
mod reset_entry;
mod resets;
mod sizes;
mod too_big;
mod translation;

use std::collections::HashMap;

use netobs_common::counters::family;

use crate::event::headers::protocol::{TCP, UDP};
use crate::event::joined::{Coalesced, Joined, JoinedKind, LastPoint, StandsFor};
use crate::event::raw::{RawDrop, RawEvent, RawIcmp, SizeError, Tuple};
use books::{Books, Ready};
pub use books::{FlowStats, Records};
pub use coalesced::Counted;
use fragments::Fragments;
use key::FlowKey;
use packets::RecentPackets;
use questions::{Fate, Questions};
pub use reasons::DropReasons;
use references::DropReferences;
use resets::Resets;
use too_big::TooBig;

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
    /// Packets that were too big, packets whose fragments were given up, and resets, of each, that wait a moment for what
    /// belongs to them.
    pub held: usize,
    /// How long a DNS answer is waited for since the question was first seen, nanoseconds.
    pub dns_timeout_ns: u64,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            questions: 16_384,
            packets: 16_384,
            references: 8_192,
            held: 4_096,
            // What glibc's resolver waits before it asks again (resolv.conf(5), `timeout`).
            dns_timeout_ns: 5_000_000_000,
        }
    }
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
    reasons: DropReasons,
    drops: RecentPackets<Dropped>,
    /// Entries of `too_big` by the identity of the ICMP errors' packets; `None`: it did not wait.
    icmps: RecentPackets<Option<u64>>,
    references: DropReferences<FlowKey>,
    questions: Questions,
    too_big: TooBig,
    fragments: Fragments,
    resets: Resets,
    last_reference: u64,
    books: Books,
}

impl FlowTable {
    /// An empty table, with the running kernel's numbers.
    pub fn new(limits: FlowLimits, reasons: DropReasons) -> Self {
        Self {
            limits,
            reasons,
            drops: RecentPackets::new(limits.packets),
            icmps: RecentPackets::new(limits.packets),
            references: DropReferences::new(limits.references),
            questions: Questions::new(limits.questions, limits.packets, limits.dns_timeout_ns),
            too_big: TooBig::new(limits.held),
            fragments: Fragments::new(limits.held),
            resets: Resets::new(limits.held, limits.packets, limits.references),
            last_reference: 0,
            books: Books::default(),
        }
    }

    /// Takes a record; the events that it completes are appended to `out`. A DNS message first times out what its own
    /// time has passed, so an answer that comes too late is too late however long the records waited to be read.
    pub fn ingest(&mut self, event: RawEvent, out: &mut Vec<Joined>) {
        self.books.stats.ingested[event.family()] += 1;
        match event {
            RawEvent::Drop(drop) => self.ingest_drop(drop, out),
            RawEvent::Dns(dns) => {
                self.time_out(dns.context.boot_ns, out);
                match self.questions.ingest(*dns) {
                    Fate::Pending => {}
                    Fate::Folded => self.books.fold(family::DNS),
                    Fate::Nothing => {
                        self.books.fold(family::DNS);
                        self.books.stats.no_question += 1;
                    }
                    Fate::Settled(joined) => {
                        self.books.fold(family::DNS);
                        self.emit(joined, out);
                    }
                    Fate::Unasked(joined) => {
                        self.emit(joined, out);
                    }
                }
            }
            RawEvent::Icmp(icmp) => self.ingest_icmp(icmp),
            RawEvent::Reset(reset) => self.resets.packet(reset, &mut self.books),
            RawEvent::Socket(socket) => self.resets.socket(socket, &mut self.books),
        }
        self.emit_ready(out);
    }

    fn ingest_drop(&mut self, drop: Box<RawDrop>, out: &mut Vec<Joined>) {
        let context = drop.context;
        let dropped = Dropped::of(&drop);
        if self.drops.get(&context).is_some_and(|first| first.tuple == dropped.tuple && *first != dropped) {
            self.books.fold(family::DROP);
            return;
        }
        self.drops.insert(&context, dropped);
        if self.reasons.reassembly.contains(&drop.reason) {
            self.fragments.dropped(drop, &mut self.books);
            return;
        }
        if sizes::is_too_big(&drop, &self.reasons) {
            self.too_big.dropped(drop, &mut self.books);
            return;
        }
        if self.reasons.no_connection.contains(&drop.reason)
            && let Some(answer) = refusals::answer(&drop)
        {
            self.resets.unmet(drop, answer, &mut self.books);
            return;
        }
        self.emit(drops::joined(drop), out);
    }

    /// The same packet once more, after its addresses were translated, says whose it is beyond the translation.
    fn ingest_icmp(&mut self, icmp: Box<RawIcmp>) {
        let context = icmp.context;
        if icmp.translated
            && let Some(number) = self.icmps.get(&context).copied()
        {
            self.books.fold(family::MTU);
            if let Some(number) = number {
                self.too_big.translated(number, &icmp);
            }
            return;
        }
        let number = match icmp.error {
            SizeError::ReassemblyTimeExceeded => {
                self.fragments.error(icmp, &mut self.books);
                None
            }
            SizeError::FragmentationNeeded | SizeError::PacketTooBig => self.too_big.error(icmp, &mut self.books),
        };
        self.icmps.insert(&context, number);
    }

    /// Settles what has waited long enough by then (`CLOCK_BOOTTIME`, nanoseconds), and forgets what is old.
    pub fn expire(&mut self, now_boot_ns: u64, out: &mut Vec<Joined>) {
        self.too_big.expire(now_boot_ns, &mut self.books);
        self.fragments.expire(now_boot_ns, &mut self.books);
        self.resets.expire(now_boot_ns, &mut self.books);
        self.emit_ready(out);
        self.time_out(now_boot_ns, out);
        self.drops.purge(now_boot_ns);
        self.icmps.purge(now_boot_ns);
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

    /// The event for what a bucket has counted since it was last read. `None` for a key whose kind is unknown, and for what
    /// other sums tell.
    pub fn coalesced(&mut self, counted: &Counted) -> Option<Joined> {
        if coalesced::is_told_by_drops(&counted.key, &self.reasons) {
            self.books.stats.own_icmp_packets += counted.count;
            return None;
        }
        let mut joined = coalesced::joined(counted)?;
        joined.answered = self.is_answered(&joined);
        joined.reference = self.next_reference();
        self.books.stats.summaries += 1;
        Some(joined)
    }

    /// Whether the packets of a sum were for no connection and were answered with resets, which are told or counted by themselves.
    fn is_answered(&self, joined: &Joined) -> bool {
        let met_nobody = match joined.kind {
            JoinedKind::Coalesced(Coalesced::Drops { reason, .. }) => self.reasons.no_connection.contains(&reason),
            _ => false,
        };
        let server = joined.destination().filter(|_| met_nobody && joined.protocol() == Some(TCP));
        server.is_some_and(|server| self.resets.answered(joined.netns, server, joined.source(), joined.boot_ns))
    }

    /// When [`Self::expire`] is next needed, `CLOCK_BOOTTIME` nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = [
            self.questions.next_deadline(),
            self.too_big.next_deadline(),
            self.fragments.next_deadline(),
            self.resets.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The ledger.
    pub fn stats(&self) -> FlowStats {
        let mut stats = self.books.stats;
        stats.pending[family::DNS] = self.questions.pending() as u64;
        stats.evicted[family::DNS] = self.questions.evicted();
        stats.evicted_packets = self.drops.evicted()
            + self.icmps.evicted()
            + self.questions.evicted_packets()
            + self.resets.evicted_packets();
        stats.evicted_references = self.references.evicted() + self.resets.evicted_references();
        stats
    }

    /// Emits what has become ready, which may make more ready.
    fn emit_ready(&mut self, out: &mut Vec<Joined>) {
        while !self.books.ready.is_empty() {
            for Ready { mut joined, explained_by } in std::mem::take(&mut self.books.ready) {
                if let Some(explanation) = explained_by {
                    joined.evidence.push(self.emit(explanation, out));
                }
                self.emit(joined, out);
            }
        }
    }

    /// Gives an event its number, which is returned.
    fn emit(&mut self, mut joined: Joined, out: &mut Vec<Joined>) -> u64 {
        let reference = self.next_reference();
        joined.reference = reference;
        if let StandsFor::Record(family) = joined.stands_for {
            self.books.stats.emitted[family] += 1;
        }
        if let Some(drop) = joined.dropped() {
            self.remember(drop, LastPoint::of(&joined), reference);
        }
        out.push(joined);
        reference
    }

    /// Remembers a drop as what may explain another event.
    fn remember(&mut self, drop: &RawDrop, at: Option<LastPoint>, reference: u64) {
        let context = drop.context;
        let mut known: Vec<FlowKey> = Vec::new();
        let entry = drop.conntrack.into_iter().flat_map(|entry| [entry.original, entry.reply]);
        for tuple in drop.tuple.into_iter().chain(entry) {
            // Of flows, only DNS questions ask, and those go over UDP.
            let flow = FlowKey::of(context.netns, &tuple).filter(|flow| tuple.protocol == UDP && !known.contains(flow));
            if let Some(flow) = flow {
                self.references.insert(flow, context.boot_ns, reference);
                known.push(flow);
            }
        }
        if self.reasons.netfilter == Some(drop.reason) {
            self.resets.rejected(drop, at, reference, &mut self.books);
        }
    }

    fn next_reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod mtu_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod reset_tests;
#[cfg(test)]
mod tests;
