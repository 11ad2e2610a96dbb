//! The table's part of the loss ledger, and the events that are ready.

use netobs_common::counters::family;

use crate::event::joined::{Joined, StandsFor};

/// A number of records of each family, indexed by [`family`].
pub type Records = [u64; family::COUNT];

/// The table's part of the loss ledger. For each family `ingested = emitted + folded + pending + evicted`. An event counts as
/// emitted for the family of the record that it stands for; the other records in it count as folded for theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowStats {
    /// Records that went in.
    pub ingested: Records,
    /// Records that came out as events of their own.
    pub emitted: Records,
    /// Records that became part of another event, or (`no_question`, `unseen_resets`) of none.
    pub folded: Records,
    /// Records that wait for what completes them.
    pub pending: Records,
    /// Records forgotten while they waited, because there was no room: DNS questions, whose outcome is then not told.
    pub evicted: Records,
    /// Of `folded`: DNS queries without a question section.
    pub no_question: u64,
    /// Of `folded`: what sockets said of resets of which no interface showed a packet in time, mostly because that was
    /// counted in a bucket.
    pub unseen_resets: u64,
    /// Not records: events that were told without waiting for what may complete them, because there was no room.
    pub told_early: u64,
    /// Not records: summaries of coalesced bursts.
    pub summaries: u64,
    /// Not records: ICMP errors of this node's own that were counted and are not told, because the sums of the drops that they
    /// are about tell it.
    pub own_icmp_packets: u64,
    /// Not records: packets whose identity was forgotten before its time, so that another sighting of one may have
    /// become an event of its own.
    pub evicted_packets: u64,
    /// Not records: drops forgotten as evidence before their time.
    pub evicted_references: u64,
}

impl FlowStats {
    /// Records of all families that are in each place: ingested, emitted, folded, pending, evicted.
    pub fn totals(&self) -> [u64; 5] {
        [self.ingested, self.emitted, self.folded, self.pending, self.evicted].map(|records| records.iter().sum())
    }
}

/// Where the parts of the table put what is ready.
#[derive(Debug, Default)]
pub struct Books {
    /// The ledger so far.
    pub stats: FlowStats,
    /// Events in the order in which they became ready.
    pub ready: Vec<Ready>,
}

/// An event, and one that is told just before it because it explains it.
#[derive(Debug)]
pub struct Ready {
    /// The event.
    pub joined: Joined,
    /// What explains it.
    pub explained_by: Option<Joined>,
}

impl Books {
    /// A record waits.
    pub fn hold(&mut self, family: usize) {
        self.stats.pending[family] += 1;
    }

    /// A record that does not wait is part of another event, or of none.
    pub fn fold(&mut self, family: usize) {
        self.stats.folded[family] += 1;
    }

    /// Records that waited are part of another event, or of none.
    pub fn fold_held(&mut self, records: &Records) {
        for (family, records) in records.iter().enumerate() {
            self.stats.pending[family] = self.stats.pending[family].saturating_sub(*records);
            self.stats.folded[family] += records;
        }
    }

    /// Records that waited are this event.
    pub fn settle(&mut self, records: &Records, joined: Joined) {
        self.settle_explained(records, joined, None);
    }

    /// Records that waited are this event, and the one that explains it.
    pub fn settle_explained(&mut self, records: &Records, joined: Joined, explained_by: Option<Joined>) {
        self.fold_held(records);
        for event in explained_by.iter().chain([&joined]) {
            if let StandsFor::Record(family) = event.stands_for {
                self.stats.folded[family] = self.stats.folded[family].saturating_sub(1);
            }
        }
        self.ready.push(Ready { joined, explained_by });
    }
}
