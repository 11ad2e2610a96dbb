//! What the feeds tell the task that owns the index, and how old their news may be.

use std::time::Duration;

use crate::cluster::index::Seen;
use crate::cluster::object::{Key, Kind, Object};
use crate::cluster::state::Feed;
use crate::event::observation::Workload;

/// A change of the index.
#[derive(Debug)]
pub(crate) enum Change {
    /// An object is there.
    Apply(Box<Object>),
    /// An object is gone.
    Delete(Kind, Key),
    /// The whole list.
    Replace(Kind, Vec<Object>),
}

/// A message of a feed.
#[derive(Debug)]
pub(crate) enum News {
    /// A list is complete.
    Listed {
        /// Of which feed.
        feed: Feed,
        /// What it holds; `None`: this node's object is not there.
        change: Option<Change>,
        /// When.
        seen: Seen,
        /// Objects that were left out.
        undecodable: u64,
    },
    /// One object changed.
    Changed {
        /// How.
        change: Change,
        /// When.
        seen: Seen,
    },
    /// News come (again).
    Well {
        /// Of which feed.
        feed: Feed,
    },
    /// No news come at the moment.
    Trouble {
        /// Of which feed.
        feed: Feed,
        /// Why.
        message: String,
        /// It is a matter of rights.
        forbidden: bool,
    },
    /// Objects were left out.
    Undecodable {
        /// Of which feed.
        feed: Feed,
        /// How many.
        count: u64,
    },
    /// An owner was looked up.
    Owner {
        /// Its UID.
        uid: String,
        /// Its own controller, if it has one.
        workload: Option<Workload>,
        /// The look-up failed.
        failed: bool,
    },
}

/// How long after (re)opening a watch its news may still be what was missed meanwhile.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How old the news of one feed may be.
#[derive(Debug, Default)]
pub(super) struct Lag {
    listed: bool,
    /// When the feed was last known to be up to date.
    heard: u64,
    /// News until the second time may be as old as the first.
    behind: Option<(u64, u64)>,
}

impl Lag {
    /// Up to date now (a bookmark, the orderly end of a watch).
    pub(super) fn heard(&mut self, now: u64) {
        self.heard = now;
    }

    /// A watch was opened.
    pub(super) fn reopened(&mut self, now: u64) {
        self.behind = Some((self.heard, now.saturating_add(nanoseconds(CATCH_UP))));
    }

    /// A list came. What the first one holds may have been so for ever.
    pub(super) fn replaced(&mut self, now: u64, lag: Duration) -> Seen {
        let earliest = if self.listed { self.heard.min(now).saturating_sub(nanoseconds(lag)) } else { 0 };
        (self.listed, self.heard) = (true, now);
        Seen { earliest, at: now }
    }

    /// A change came.
    pub(super) fn changed(&mut self, now: u64, lag: Duration) -> Seen {
        let since = match self.behind {
            Some((since, until)) if now < until => since.min(now),
            _ => now,
        };
        self.heard = now;
        Seen { earliest: since.saturating_sub(nanoseconds(lag)), at: now }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const LAG: Duration = Duration::from_secs(2);

    #[test]
    fn news_after_a_gap_may_be_as_old_as_the_gap() {
        let mut lag = Lag::default();
        assert_eq!(lag.replaced(100 * S, LAG), Seen { earliest: 0, at: 100 * S });
        lag.reopened(100 * S);
        assert_eq!(lag.changed(110 * S, LAG), Seen { earliest: 108 * S, at: 110 * S });
        lag.heard(120 * S);
        // The connection breaks; the watch is back at 150 s.
        lag.reopened(150 * S);
        assert_eq!(lag.changed(151 * S, LAG), Seen { earliest: 118 * S, at: 151 * S });
        assert_eq!(lag.changed(152 * S, LAG), Seen { earliest: 150 * S, at: 152 * S });
        // It breaks again, and the version is too old by then: a new list.
        assert_eq!(lag.replaced(200 * S, LAG), Seen { earliest: 150 * S, at: 200 * S });
    }
}
