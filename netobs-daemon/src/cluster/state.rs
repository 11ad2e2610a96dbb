//! How well the cluster's objects are known: for `/v1/status` and readiness.

use serde::Serialize;
use utoipa::ToSchema;

use super::index::IndexCounters;

/// One stream of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// Pods: this node's, or all with `--watch-all-pods`.
    Pods,
    /// Services of all namespaces.
    Services,
    /// `EndpointSlices` of all namespaces.
    EndpointSlices,
    /// This node's own object.
    Node,
    /// All nodes, by an occasional list.
    Nodes,
}

impl Feed {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pods, Self::Services, Self::EndpointSlices, Self::Node, Self::Nodes];

    /// Its name in messages: the resource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Services => "services",
            Self::EndpointSlices => "endpointslices",
            Self::Node => "node",
            Self::Nodes => "nodes",
        }
    }
}

/// How far a feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Never listed yet.
    Waiting,
    /// Listed, and news come.
    Synced,
    /// Listed once, but news do not come at the moment: objects are as last known.
    Stale,
    /// The API server forbids it (RBAC): the rest works without.
    Forbidden,
}

/// State of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedState {
    /// Which feed.
    pub feed: Feed,
    /// How far it is.
    pub phase: Phase,
    /// Since when it is in this phase, `CLOCK_BOOTTIME` nanoseconds.
    pub since_boot_ns: u64,
    /// Last trouble; kept after it is over, for the reader's information, until the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Failures so far.
    pub failures: u64,
    /// Whole lists received so far.
    pub lists: u64,
    /// When a list or a watch was last accepted, `CLOCK_BOOTTIME` nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_boot_ns: Option<u64>,
    /// Objects that could not be decoded and were left out.
    pub undecodable: u64,
    /// Objects known now (of the type: `node` and `nodes` share theirs).
    pub objects: usize,
}

/// State of the cluster metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClusterState {
    /// Where the objects come from: `api`, `file` or `none`.
    pub source: &'static str,
    /// Name of this node.
    pub node: String,
    /// Its feeds.
    pub feeds: Vec<FeedState>,
    /// Owners whose metadata was asked for.
    pub owner_lookups: u64,
    /// Of those, how many got no answer that could be used.
    pub owner_lookup_failures: u64,
    /// What did not fit or could not be read.
    pub index: IndexCounters,
}

impl ClusterState {
    pub(super) fn new(source: &'static str, node: String, feeds: &[Feed], now: u64) -> Self {
        let feeds = feeds.iter().map(|&feed| FeedState {
            feed,
            phase: Phase::Waiting,
            since_boot_ns: now,
            last_error: None,
            failures: 0,
            lists: 0,
            heard_boot_ns: None,
            undecodable: 0,
            objects: 0,
        });
        let index = IndexCounters::default();
        Self { source, node, feeds: feeds.collect(), owner_lookups: 0, owner_lookup_failures: 0, index }
    }

    /// State of a feed.
    pub fn feed(&self, feed: Feed) -> Option<&FeedState> {
        self.feeds.iter().find(|it| it.feed == feed)
    }

    pub(super) fn enter(&mut self, feed: Feed, phase: Phase, now: u64) {
        if let Some(state) = self.feeds.iter_mut().find(|it| it.feed == feed)
            && state.phase != phase
        {
            (state.phase, state.since_boot_ns) = (phase, now);
        }
    }

    pub(super) fn of(&mut self, feed: Feed, change: impl FnOnce(&mut FeedState)) {
        if let Some(state) = self.feeds.iter_mut().find(|it| it.feed == feed) {
            change(state);
        }
    }

    /// Why names are not ready, one reason a line; empty: they are. A feed that is forbidden is degraded for good and
    /// holds nobody up; one that was listed once and is stale does not either.
    pub fn not_ready(&self) -> Vec<String> {
        let waiting = self.feeds.iter().filter(|it| it.phase == Phase::Waiting);
        waiting
            .map(|it| match &it.last_error {
                Some(error) => format!("cluster metadata: {} not listed yet: {error}", it.feed.name()),
                None => format!("cluster metadata: {} not listed yet", it.feed.name()),
            })
            .collect()
    }
}
