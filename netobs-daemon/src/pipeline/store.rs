//! The history that publisher and readers share, and the bell that wakes readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::pipeline::filter::Filter;
use crate::pipeline::frame::Frame;
use crate::pipeline::history::{CLASSES, ClassSize, History, HistoryLimits};

/// Events looked at under one hold of the lock: bounds how long a reader can keep the publisher waiting to some tens
/// of microseconds, whatever it asks for.
pub(crate) const SCAN: usize = 256;

/// The history, shared.
#[derive(Debug)]
pub struct Store {
    history: Mutex<History>,
    pub(crate) published: Notify,
    lagged: AtomicU64,
}

/// Direction of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Oldest,
    /// Newest first.
    #[default]
    Newest,
}

/// Answer of a query.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub frames: Vec<Arc<Frame>>,
    /// There are more.
    pub more: bool,
    /// Events of the kinds asked for, after the cursor, that had been evicted.
    pub evicted: bool,
}

impl Store {
    /// An empty store.
    pub fn new(limits: HistoryLimits) -> Self {
        Self { history: Mutex::new(History::new(limits)), published: Notify::new(), lagged: AtomicU64::new(0) }
    }

    /// Adds an event and wakes the readers.
    pub fn push(&self, frame: Arc<Frame>) {
        let evicted = self.lock().push(frame);
        drop(evicted);
        self.published.notify_waiters();
    }

    /// Sequence number of the newest event; 0: none yet.
    pub fn last_seq(&self) -> u64 {
        self.lock().last_seq()
    }

    /// How full each class is.
    pub fn sizes(&self) -> [ClassSize; CLASSES] {
        self.lock().sizes()
    }

    /// Events that readers were told they missed, over all readers.
    pub fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    pub(crate) fn add_lagged(&self, missed: u64) {
        self.lagged.fetch_add(missed, Ordering::Relaxed);
    }

    /// Up to `limit` events that match, beyond `cursor` (a sequence number; not included) in the given order.
    pub fn query(&self, filter: &Filter, order: Order, cursor: Option<u64>, limit: usize) -> Page {
        let classes = filter.classes();
        let mut page = Page::default();
        let mut positions = {
            let history = self.lock();
            match (order, cursor) {
                (Order::Oldest, cursor) => {
                    let (positions, complete) = history.position_after(cursor.unwrap_or(0), classes);
                    page.evicted = cursor.is_some() && !complete;
                    positions
                }
                (Order::Newest, None) => history.position_after(u64::MAX, classes).0,
                (Order::Newest, Some(cursor)) => history.position_after(cursor.saturating_sub(1), classes).0,
            }
        };
        loop {
            let history = self.lock();
            for _ in 0..SCAN {
                let frame = match order {
                    Order::Oldest => {
                        let (missed, frame) = history.next(&mut positions, classes);
                        page.evicted |= missed > 0;
                        frame
                    }
                    Order::Newest => history.previous(&mut positions, classes),
                };
                let Some(frame) = frame else { return page };
                if filter.matches(frame) {
                    if page.frames.len() == limit {
                        page.more = true;
                        return page;
                    }
                    page.frames.push(Arc::clone(frame));
                }
            }
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, History> {
        // Nothing in the history is left half changed by a panic that could be observed here.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::observation::Kind;
    use crate::pipeline::samples;

    fn seqs(page: &Page) -> Vec<u64> {
        page.frames.iter().map(|frame| frame.seq).collect()
    }

    #[test]
    fn pages_follow_each_other() {
        let publisher = samples::publisher(1, HistoryLimits::default());
        for index in 0..1_000 {
            publisher.publish(
                samples::drop("shop", "cart", if index % 3 == 0 { "A" } else { "B" }),
                samples::DROP,
                None,
                &[],
            );
        }
        let filter = Filter { kinds: vec![Kind::Drop], reasons: vec!["a".into()], ..Filter::default() };
        for order in [Order::Oldest, Order::Newest] {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let page = publisher.store().query(&filter, order, cursor, 100);
                all.extend(seqs(&page));
                cursor = all.last().copied();
                if !page.more {
                    break;
                }
            }
            let mut expected: Vec<u64> = (1..=1_000).step_by(3).collect();
            if order == Order::Newest {
                expected.reverse();
            }
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn a_page_says_that_something_is_gone() {
        let publisher = samples::publisher(1, HistoryLimits { problems: 2, ..HistoryLimits::default() });
        for _ in 0..5 {
            publisher.publish(samples::drop("shop", "cart", "A"), samples::DROP, None, &[]);
        }
        let page = publisher.store().query(&Filter::default(), Order::Oldest, Some(1), 10);
        assert_eq!((seqs(&page), page.evicted, page.more), (vec![4, 5], true, false));
        assert!(!publisher.store().query(&Filter::default(), Order::Oldest, Some(3), 10).evicted);
    }
}
