//! `/v1/status`: what the daemon sees, what it does not see and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::observation::{Kind, Severity};
use crate::http::api::Api;
use crate::http::memory;
use crate::http::metrics::node::NodeMetrics;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::readiness::ReadyView;
use crate::http::scrape::ScrapeStatus;
use crate::kernel::features::Feature;
use crate::pipeline::LedgerView;
use crate::pipeline::history::CLASS_NAMES;

/// What only the rest of the daemon knows.
pub trait StatusSource: Send + Sync {
    /// State of this moment. Called for each request: cheap, and without waiting for anything.
    fn node_status(&self) -> NodeStatus;

    /// The same in numbers. Called for each scrape: as cheap.
    fn node_metrics(&self) -> NodeMetrics;
}

/// Everything about this daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of netobs.
    pub version: String,
    /// Node.
    pub node: String,
    /// Id of the newest event; its last part is 0 before the first.
    pub position: String,
    /// Seconds since the daemon's start.
    pub uptime_seconds: f64,
    /// Seconds from the daemon's start until it was ready for the first time; absent: it has not been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after_seconds: Option<f64>,
    /// As `/readyz`.
    pub readiness: ReadyView,
    /// What the rest of the daemon knows.
    #[serde(flatten)]
    pub node_status: NodeStatus,
    /// The loss ledger.
    pub ledger: LedgerView,
    /// What is kept of the past.
    pub history: Vec<HistoryStatus>,
    /// Clients of the event stream.
    pub streams: StreamStatus,
    /// The listener for metrics over the network; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listener: Option<ScrapeStatus>,
    /// Resident memory of the daemon, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
}

/// State of hooks, interfaces and metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Hooks of the kernel.
    pub hooks: Vec<HookStatus>,
    /// What works on this kernel, what is lost where it does not, and why.
    #[serde(default)]
    pub features: Vec<Feature>,
    /// Interfaces of the host.
    pub interfaces: Vec<InterfaceStatus>,
    /// What is seen of each pod of this node.
    pub coverage: Vec<PodCoverage>,
    /// Where names come from.
    pub metadata: MetadataStatus,
    /// Bounds, and how much of each is used.
    pub limits: Vec<Limit>,
    /// What the flow table could not join, or not keep.
    pub flow: FlowStatus,
    /// The detector of floods.
    pub floods: FloodStatus,
    /// Capabilities that some thread of the daemon still has, without `CAP_`; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Memory of the BPF maps, bytes; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpf_map_bytes: Option<u64>,
}

/// What the flow table could not join, or not keep, since the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowStatus {
    /// What sockets said of resets of which no interface showed a packet in time, mostly because that was counted.
    pub unseen_resets: u64,
    /// Events that were told without waiting for what may complete them, because there was no room.
    pub told_early: u64,
    /// ICMP errors of this node's own that were counted and have no event, because sums of drops tell what they are about.
    pub own_icmp_packets: u64,
    /// Packets whose identity was forgotten before its time: a further sight of one may have become an event of its own.
    pub evicted_packets: u64,
    /// Drops that were forgotten as evidence before their time.
    pub evicted_drops: u64,
}

/// The detector of floods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FloodStatus {
    /// Sources of resets that are watched now.
    pub sources: u64,
    /// Those of them that are in a flood.
    pub flooding: u64,
    /// Floods that were told since the daemon's start.
    pub floods: u64,
    /// Sources that were given up for others that send more.
    pub replaced: u64,
    /// Resets that were not watched: their source is unknown, or there was no room for it.
    pub unwatched_packets: u64,
}

/// A hook of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookStatus {
    /// For example `skb:kfree_skb` or `netfilter FORWARD ipv4`.
    pub name: String,
    /// A program of ours runs there.
    pub attached: bool,
    /// How it is attached; or why it is not, and what is not seen because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An interface of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceStatus {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// `pod`, `bridge`, `uplink`, `loopback`, or the kind that the kernel gives.
    pub kind: String,
    /// Directions in which programs are attached: `ingress`, `egress`.
    pub attached: Vec<String>,
    /// Why not, where a direction is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What is seen of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodCoverage {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pod: String,
    /// For example `interface, sockets and drops` or `sockets and drops only`.
    pub seen_by: String,
    /// The pod's interface on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// Where names come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetadataStatus {
    /// `api-server`, `file` or `none`.
    pub source: String,
    /// The first lists are complete.
    pub synced: bool,
    /// In what state it is, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Pods known.
    pub pods: u64,
    /// Services known.
    pub services: u64,
}

/// A bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Of what.
    pub name: String,
    /// The bound.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// What did not fit since the daemon's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// One class of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryStatus {
    /// Kind.
    pub kind: Kind,
    /// Severity.
    pub severity: Severity,
    /// Events held.
    pub events: u64,
    /// Bytes of memory they take.
    pub bytes: u64,
    /// Events evicted to make room.
    pub evicted: u64,
    /// Events held at most.
    pub max_events: u64,
    /// Bytes of memory at most.
    pub max_bytes: u64,
}

/// Clients of the event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamStatus {
    /// Clients now.
    pub clients: u64,
    /// Clients at most.
    pub max_clients: u64,
    /// Clients refused because there were that many.
    pub refused: u64,
    /// Events that clients were too slow for, over all clients.
    pub missed: u64,
}

/// What the daemon sees, what it does not see and why.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses(
    (status = 200, body = Status, description = "State of the daemon"),
    (status = 400, body = Problem, content_type = "application/problem+json", description = "A parameter was given"),
))]
pub async fn status(State(api): State<Arc<Api>>, uri: Uri) -> Result<Json<Status>, Problem> {
    Query::parse(&uri, &[])?;
    Ok(Json(api.status()))
}

impl Api {
    /// The whole status.
    pub fn status(&self) -> Status {
        let store = self.publisher.store();
        let seconds = |duration: std::time::Duration| duration.as_secs_f64();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.publisher.origin().node.to_string(),
            position: self.publisher.id_text(store.last_seq()),
            uptime_seconds: seconds(self.readiness.uptime()),
            ready_after_seconds: self.readiness.time_to_ready().map(seconds),
            readiness: self.readiness.view(),
            node_status: self.source.node_status(),
            ledger: self.publisher.ledger().view(),
            history: std::iter::zip(CLASS_NAMES, store.sizes())
                .map(|((kind, severity), size)| HistoryStatus {
                    kind,
                    severity,
                    events: size.events as u64,
                    bytes: size.bytes as u64,
                    evicted: size.evicted,
                    max_events: size.max_events as u64,
                    max_bytes: size.max_bytes as u64,
                })
                .collect(),
            streams: self.streams.status(store.lagged()),
            metrics_listener: self.scrape.status(),
            resident_bytes: memory::resident_bytes(),
        }
    }
}
