//! Gives an observation its id, its wall time and its bytes, once for all clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::joined::StandsFor;
use crate::event::observation::Observation;
use crate::pipeline::clock::WallClock;
use crate::pipeline::evidence::{CAPACITY, Evidence};
use crate::pipeline::frame::Frame;
use crate::pipeline::history::{CLASSES, class_of};
use crate::pipeline::id::Origin;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::store::Store;
use crate::pipeline::tally::Tally;

/// The one way into the store.
#[derive(Debug)]
pub struct Publisher {
    origin: Origin,
    prefix: String,
    clock: WallClock,
    store: Arc<Store>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    events: [AtomicU64; CLASSES],
    unresolved: AtomicU64,
    tally: Tally,
}

#[derive(Debug)]
struct State {
    next_seq: u64,
    evidence: Evidence,
    /// Where events are rendered.
    scratch: Vec<u8>,
}

impl Publisher {
    /// A publisher whose first event has sequence number 1.
    pub fn new(origin: Origin, store: Arc<Store>, ledger: Arc<Ledger>) -> Self {
        Self {
            prefix: origin.prefix(),
            origin,
            clock: WallClock::new(),
            store,
            ledger,
            state: Mutex::new(State { next_seq: 1, evidence: Evidence::new(CAPACITY), scratch: Vec::new() }),
            events: Default::default(),
            unresolved: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// Publishes an observation. Its id, time and node are filled in here, and `evidence`, references to events that
    /// explain it, is appended to its own as ids; a reference that is not (or no longer) known is left out and
    /// counted. `reference` is what later events may call this one.
    ///
    /// It is counted in the ledger as what it stands for.
    /// `None`: it cannot be written as JSON, which no observation of today's type is; its record is counted as evicted.
    pub fn publish(
        &self,
        mut observation: Observation,
        stands_for: StandsFor,
        reference: Option<u64>,
        evidence: &[u64],
    ) -> Option<Arc<Frame>> {
        let time = self.clock.wall(observation.boot_ns);
        // Held until the event is in the store: sequence numbers are in order there.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = state.next_seq;
        observation.id = format!("{}{seq}", self.prefix);
        observation.time = format!("{time:.9}");
        if let Some(flood) = &mut observation.flood {
            flood.since = format!("{:.9}", self.clock.wall(flood.since_boot_ns));
        }
        self.origin.node.as_ref().clone_into(&mut observation.node);
        for reference in evidence {
            match state.evidence.get(*reference) {
                Some(seq) => observation.evidence.push(format!("{}{seq}", self.prefix)),
                None => _ = self.unresolved.fetch_add(1, Ordering::Relaxed),
            }
        }
        let frame = match Frame::render(seq, time, &observation, &mut state.scratch) {
            Ok(frame) => Arc::new(frame),
            Err(error) => {
                tracing::error!(%error, "an event could not be written as JSON");
                if let StandsFor::Record(family) = stands_for {
                    self.ledger.evicted(family, 1);
                }
                return None;
            }
        };
        state.next_seq += 1;
        if let Some(reference) = reference {
            state.evidence.insert(reference, seq);
        }
        self.store.push(Arc::clone(&frame));
        drop(state);
        self.tally.count(&observation);
        self.events[class_of(frame.kind, frame.severity)].fetch_add(1, Ordering::Relaxed);
        match stands_for {
            StandsFor::Record(family) => self.ledger.published(family),
            StandsFor::Summary(family) => self.ledger.summary(family, observation.count),
            StandsFor::Others => {}
        }
        Some(frame)
    }

    /// What all ids have in common.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The id that a sequence number has, as text.
    pub fn id_text(&self, seq: u64) -> String {
        format!("{}{seq}", self.prefix)
    }

    /// Where events go.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Where they are counted.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Turns boot time into wall time.
    pub const fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// Events published per class, see [`class_of`].
    pub fn events(&self) -> [u64; CLASSES] {
        self.events.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// What the events stand for.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// References to evidence that were not known (any more).
    pub fn evidence_unresolved(&self) -> u64 {
        self.unresolved.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use netobs_common::counters::family;

    use super::*;
    use crate::pipeline::{EventId, HistoryLimits, samples};

    #[test]
    fn all_kinds_share_one_sequence() {
        let publisher = samples::publisher(7, HistoryLimits::default());
        let first = publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, Some(900), &[]).unwrap();
        let second = publisher.publish(samples::dns("shop", "cart", true), samples::DNS, None, &[900, 901]).unwrap();
        assert_eq!((first.seq, second.seq), (1, 2));
        let event: Observation = serde_json::from_slice(second.json()).unwrap();
        assert_eq!(event.id.parse::<EventId>().unwrap(), publisher.origin().id(2));
        assert_eq!(event.node, "node-a.test");
        assert_eq!(event.evidence, [publisher.id_text(1)]);
        assert_eq!(publisher.evidence_unresolved(), 1);
        assert_eq!(event.time.parse::<jiff::Timestamp>().unwrap(), second.time);
        assert_eq!(event.time.len(), "2026-01-01T00:00:00.000000000Z".len());
    }

    #[test]
    fn summaries_are_counted_apart() {
        let publisher = samples::publisher(7, HistoryLimits::default());
        publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
        let summary = Observation { coalesced: true, count: 500, ..samples::drop("shop", "cart", "A") };
        publisher.publish(summary, StandsFor::Summary(family::DROP), None, &[]);
        let lines = publisher.ledger().user(family::DROP);
        assert_eq!((lines.published, lines.summaries, lines.summarised_packets), (1, 1, 500));
        assert_eq!(publisher.events()[0], 2);
    }
}
