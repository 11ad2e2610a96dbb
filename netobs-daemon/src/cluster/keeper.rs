//! The task that owns the index: takes the news in, lets readers see the result.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::index::{Index, OwnerQuery, Seen, Snapshot};
use super::object::Kind;
use super::state::{ClusterState, Feed, Phase};
use super::watch::{BootClock, Change, News};

/// How often the history is looked through for what is too old.
const EXPIRY: Duration = Duration::from_secs(1);

/// What readers see.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) state: ArcSwap<ClusterState>,
}

/// The index and its keeper.
pub(super) struct Keeper {
    pub(super) index: Index,
    pub(super) state: ClusterState,
    pub(super) published: Arc<Published>,
    pub(super) clock: BootClock,
    /// Where owners are looked up; `None` without an API server.
    pub(super) queries: Option<mpsc::Sender<OwnerQuery>>,
}

impl Keeper {
    /// Runs until the shutdown, or until there is nobody left to bring news.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>, publish: Duration, shutdown: CancellationToken) {
        let mut due: Option<Instant> = None;
        let mut expiry = tokio::time::interval(EXPIRY);
        expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.publish();
                }
                message = news.recv() => {
                    let Some(message) = message else { break };
                    self.take(message);
                    due.get_or_insert_with(|| Instant::now() + publish);
                }
                _ = expiry.tick() => {
                    self.index.expire((self.clock)());
                    due.get_or_insert_with(|| Instant::now() + publish);
                }
            }
        }
    }

    /// Takes one message in.
    pub(super) fn take(&mut self, news: News) {
        let now = (self.clock)();
        match news {
            News::Listed { feed, change, seen, undecodable } => {
                if let Some(change) = change {
                    self.change(change, seen);
                }
                self.state.enter(feed, Phase::Synced, now);
                self.state.of(feed, |state| {
                    state.lists += 1;
                    state.heard_boot_ns = Some(now);
                    state.undecodable += undecodable;
                });
            }
            News::Changed { change, seen } => self.change(change, seen),
            News::Well { feed } => {
                self.state.enter(feed, Phase::Synced, now);
                self.state.of(feed, |state| state.heard_boot_ns = Some(now));
            }
            News::Trouble { feed, message, forbidden } => {
                let known = self.state.feed(feed).is_some_and(|state| state.lists > 0);
                let before = self.state.feed(feed).map(|state| state.phase);
                let phase = match (forbidden, known) {
                    (true, _) => Phase::Forbidden,
                    (false, true) => Phase::Stale,
                    (false, false) => Phase::Waiting,
                };
                if before != Some(phase) {
                    tracing::warn!(feed = feed.name(), error = message, "cluster metadata: {phase:?}");
                }
                self.state.enter(feed, phase, now);
                self.state.of(feed, |state| {
                    state.failures += 1;
                    state.last_error = Some(message);
                });
            }
            News::Undecodable { feed, count } => self.state.of(feed, |state| state.undecodable += count),
            News::Owner { uid, workload, failed } => {
                self.state.owner_lookups += u64::from(self.queries.is_some());
                self.state.owner_lookup_failures += u64::from(failed);
                self.index.learn_owner(&uid, workload);
            }
        }
        self.ask();
    }

    fn change(&mut self, change: Change, seen: Seen) {
        match change {
            Change::Apply(object) => self.index.apply(*object, seen),
            Change::Delete(kind, key) => self.index.delete(kind, &key, seen),
            Change::Replace(kind, objects) => self.index.replace(kind, objects, seen),
        }
    }

    /// Hands on what is to be looked up, as far as there is room.
    fn ask(&mut self) {
        let Some(queries) = &self.queries else { return };
        while let Ok(permit) = queries.try_reserve() {
            let Some(query) = self.index.next_wanted() else { return };
            permit.send(query);
        }
    }

    /// Lets readers see what is known now.
    pub(super) fn publish(&mut self) {
        let index = &self.index;
        for feed in Feed::ALL {
            let kind = match feed {
                Feed::Pods => Kind::Pod,
                Feed::Services => Kind::Service,
                Feed::EndpointSlices => Kind::EndpointSlice,
                Feed::Node | Feed::Nodes => Kind::Node,
            };
            self.state.of(feed, |state| state.objects = index.objects(kind));
        }
        self.state.index = index.counters();
        self.published.snapshot.store(Arc::new(index.snapshot()));
        self.published.state.store(Arc::new(self.state.clone()));
    }
}
