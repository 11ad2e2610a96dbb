//! One client's way through the store.

use std::sync::Arc;

use crate::pipeline::filter::Filter;
use crate::pipeline::frame::Frame;
use crate::pipeline::history::{CLASSES, Positions};
use crate::pipeline::store::{Order, SCAN, Store};

/// Events in one batch at most, which is one write to the client: 64 in one cost a fiftieth of one write each.
pub const BATCH: usize = 64;

/// A position in the store and what to look for from there.
#[derive(Debug)]
pub struct Reader {
    store: Arc<Store>,
    filter: Filter,
    classes: [bool; CLASSES],
    positions: Positions,
    seen: u64,
    end: u64,
}

/// What a reader got.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events of the kinds and severities asked for that were evicted before this reader came to them, whether or
    /// not they match the rest of its filter. They lie before or among `frames`.
    pub missed: u64,
    /// The events, ascending.
    pub frames: Vec<Arc<Frame>>,
    /// Reading again at once may bring more.
    pub more: bool,
}

impl Reader {
    /// A reader of everything after `seq`, and whether all of that is still held.
    pub fn after(store: Arc<Store>, filter: Filter, seq: u64) -> (Self, bool) {
        let classes = filter.classes();
        let (positions, complete) = store.lock().position_after(seq, classes);
        (Self { store, filter, classes, positions, seen: seq, end: u64::MAX }, complete)
    }

    /// A reader of what comes from now on.
    pub fn live(store: Arc<Store>, filter: Filter) -> Self {
        let classes = filter.classes();
        let (positions, seen) = {
            let history = store.lock();
            (history.position_after(history.last_seq(), classes).0, history.last_seq())
        };
        Self { store, filter, classes, positions, seen, end: u64::MAX }
    }

    /// A reader that begins with the last `count` matching events that are held.
    pub fn last(store: Arc<Store>, filter: Filter, count: usize) -> Self {
        let now = store.last_seq();
        let page = store.query(&filter, Order::Newest, Some(now.saturating_add(1)), count);
        let from = page.frames.last().map_or(now, |frame| frame.seq.saturating_sub(1));
        Self::after(store, filter, from).0
    }

    /// Makes the reader end at the event that is newest now.
    #[must_use]
    pub fn until_now(mut self) -> Self {
        self.end_now();
        self
    }

    /// Makes the reader end at the event that is newest now.
    pub fn end_now(&mut self) {
        self.end = self.store.last_seq();
    }

    /// Sequence number up to which the store has been read; what matched has been returned.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The store this reads.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What there is, up to [`BATCH`] events; never waits.
    pub fn read(&mut self) -> Batch {
        let mut batch = Batch::default();
        {
            let history = self.store.lock();
            for _ in 0..SCAN {
                let before = self.positions;
                let (missed, frame) = history.next(&mut self.positions, self.classes);
                batch.missed += missed;
                let Some(frame) = frame else {
                    // Whatever else there is, is of classes that were not asked for.
                    self.seen = self.seen.max(history.last_seq().min(self.end));
                    break;
                };
                if frame.seq > self.end {
                    self.positions = before;
                    self.seen = self.end;
                    break;
                }
                self.seen = frame.seq;
                if self.filter.matches(frame) {
                    batch.frames.push(Arc::clone(frame));
                }
                batch.more = true;
                if batch.frames.len() == BATCH {
                    break;
                }
            }
        }
        if batch.missed > 0 {
            self.store.add_lagged(batch.missed);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::observation::Kind;
    use crate::pipeline::{HistoryLimits, samples};

    fn drain(reader: &mut Reader) -> (u64, Vec<u64>) {
        let (mut missed, mut seqs) = (0, Vec::new());
        loop {
            let batch = reader.read();
            assert!(batch.frames.len() <= BATCH);
            missed += batch.missed;
            seqs.extend(batch.frames.iter().map(|frame| frame.seq));
            if !batch.more {
                return (missed, seqs);
            }
        }
    }

    #[test]
    fn a_slow_reader_is_told_exactly() {
        let publisher = samples::publisher(1, HistoryLimits { problems: 100, ..HistoryLimits::default() });
        let mut slow = Reader::live(Arc::clone(publisher.store()), Filter::default());
        let mut quick = Reader::live(Arc::clone(publisher.store()), Filter::default());
        let dns = Filter { kinds: vec![Kind::Dns], ..Filter::default() };
        let mut other = Reader::live(Arc::clone(publisher.store()), dns);
        let mut quick_seqs = Vec::new();
        for index in 0..1_000 {
            publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
            if index % 50 == 0 {
                quick_seqs.extend(drain(&mut quick).1);
            }
        }
        publisher.publish(samples::dns("shop", "cart", true), samples::DNS, None, &[]);
        quick_seqs.extend(drain(&mut quick).1);
        assert_eq!(quick_seqs, (1..=1_001).collect::<Vec<_>>());
        assert_eq!(drain(&mut slow), (900, (901..=1_001).collect()));
        assert_eq!(drain(&mut other), (0, vec![1_001]));
        assert_eq!(publisher.store().lagged(), 900);
        assert_eq!(slow.seen(), 1_001);
    }

    #[test]
    fn the_last_few_then_live() {
        let publisher = samples::publisher(1, HistoryLimits::default());
        for index in 0..10 {
            publisher.publish(
                samples::drop("shop", "cart", if index < 5 { "A" } else { "B" }),
                samples::DROP,
                None,
                &[],
            );
        }
        let filter = Filter { reasons: vec!["A".into()], ..Filter::default() };
        let mut last = Reader::last(Arc::clone(publisher.store()), filter.clone(), 2);
        assert_eq!(drain(&mut last).1, [4, 5]);
        publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
        assert_eq!(drain(&mut last).1, [11]);
        let mut none = Reader::last(Arc::clone(publisher.store()), filter, 0);
        assert_eq!(drain(&mut none).1, [0_u64; 0]);
    }

    #[test]
    fn until_now_ends() {
        let publisher = samples::publisher(1, HistoryLimits::default());
        publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
        let (reader, complete) = Reader::after(Arc::clone(publisher.store()), Filter::default(), 0);
        let mut reader = reader.until_now();
        publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
        assert!(complete);
        assert_eq!(drain(&mut reader), (0, vec![1]));
        assert_eq!(reader.seen(), 1);
    }
}
