//! What users read: the event as it is serialised, once, for every client.
//!
//! Absent means unknown: a field that could not be read is left out, never 0 and never a guess.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::detail::{
    FloodDetail, FloodEnd, FloodPhase, IcmpPath, MtuCause, MtuDetail, ResetCause, ResetDetail, ResetEnd,
};

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Observation {
    /// Event id: `NODE.BOOT.EPOCH.SEQ`, the node, the boot, the daemon's start and a sequence number.
    pub id: String,
    /// When the packet met its fate, RFC 3339 in UTC with nanoseconds.
    pub time: String,
    /// The same in `CLOCK_BOOTTIME` nanoseconds.
    pub boot_ns: u64,
    /// What kind of event this is.
    pub kind: Kind,
    /// Whether something failed.
    pub severity: Severity,
    /// Node the daemon runs on.
    pub node: String,
    /// One sentence for people.
    pub summary: String,
    /// Packets this event stands for. 1, unless packets of a burst were coalesced into it, or it is about several fragments
    /// of one packet.
    pub count: u64,
    /// The packets of a burst that were counted, not recorded: this event is their summary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coalesced: bool,
    /// Addresses and ports as in the packet when it failed (DNS: as in the question; MTU: of the packet that was too big, not
    /// of the ICMP error about it, unless errors were counted; reset: of the reset; flood: without ports).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// Who sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Endpoint>,
    /// To whom it went. Behind a Service: the backend, with the Service in [`Observation::nat`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Endpoint>,
    /// Address translation on the packet's way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat: Option<Nat>,
    /// Inode of the network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Interface index in that namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifindex: Option<u32>,
    /// Interface name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// cgroup v2 id of the owning socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// Where the packet was met, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<ObservationPoint>,
    /// Filled for kind `drop`, and for kind `mtu` where the kernel's drop of the packet was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<DropDetail>,
    /// Filled for kind `dns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsDetail>,
    /// Filled for kind `mtu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<MtuDetail>,
    /// Filled for kind `reset`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<ResetDetail>,
    /// Filled for kind `flood`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<FloodDetail>,
    /// Ids of other events that explain this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The kernel dropped a packet.
    Drop,
    /// A DNS question and what became of it.
    Dns,
    /// A packet was too big for its way, or its fragments did not all come.
    Mtu,
    /// A TCP connection was reset, or refused.
    Reset,
    /// A source resets far more connections than it used to, or no longer does.
    Flood,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Drop, Self::Dns, Self::Mtu, Self::Reset, Self::Flood];

    /// Name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Dns => "dns",
            Self::Mtu => "mtu",
            Self::Reset => "reset",
            Self::Flood => "flood",
        }
    }
}

/// Whether something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All is well (a DNS question with an answer).
    Info,
    /// Something failed.
    Problem,
}

/// Addresses of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or the IP protocol number.
    pub protocol: String,
    /// Source address; absent: unknown, of packets that were counted for many sources together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source_ip: Option<IpAddr>,
    /// Source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination address; absent: unknown, of packets that were counted for many destinations together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub destination_ip: Option<IpAddr>,
    /// Destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
}

/// One end of a flow: what the resolver settled on, and the claims it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The Service, when the address is a Service's own (`ClusterIP`, external or load balancer address).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The node, when the address is a node's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why there is no name: `no_metadata`, `unknown_ip`, `ambiguous`, `no_address`, or `pod_not_listed`: the pod is
    /// there (its UID is in the claims, or its interface is newer than the pod that the API server names), and the API
    /// server has not told its name yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The claims disagree (a spoofed source, an address that has just moved).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ip_mismatch: bool,
    /// Each claim that was made, strongest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
}

/// Evidence for who an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// What it rests on.
    pub by: ClaimBy,
    /// Whom it names: `NAMESPACE/POD`, `service NAMESPACE/NAME`, `node NAME`, or `pod uid UID` where there is no name.
    pub names: String,
}

/// What a claim rests on, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimBy {
    /// The cgroup of the socket that owned the packet.
    Socket,
    /// The network namespace or interface the packet was in.
    Place,
    /// The address, at that time.
    Ip,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The workload at the top of its owner chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// A workload: the top of a pod's owner chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Workload {
    /// `Deployment`, `DaemonSet`, `StatefulSet`, `CronJob`, ….
    pub kind: String,
    /// Name.
    pub name: String,
}

/// A Service, and the port of it that was used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Name of the port, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
}

/// Address translation on the packet's way (conntrack).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nat {
    /// As its opener sent it.
    pub original: Flow,
    /// The address the opener asked for, when it was a Service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The backend that was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Endpoint>,
}

/// A place where the packet was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservationPoint {
    /// `tcx-ingress`, `tcx-egress`, `netfilter`, `kfree_skb`.
    pub at: String,
    /// `PREROUTING`, `INPUT`, `FORWARD`, `OUTPUT` or `POSTROUTING`, for `netfilter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Interface; for netfilter the input interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Output interface, for netfilter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_interface: Option<String>,
}

/// What is known of a drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropDetail {
    /// Name in the running kernel's `enum skb_drop_reason`, without its prefix; `REASON_n` where it has none.
    pub reason: String,
    /// Kernel function that dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// netfilter hook the packet was in: `PREROUTING`, `INPUT`, `FORWARD`, `OUTPUT` or `POSTROUTING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Bytes in the packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// MTU of the interface, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// TCP flags, for example `SYN` or `ACK,PSH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<String>,
    /// The kernel answered the packet with a reset, which has an event of its own (or is counted in one).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
}

/// What became of a DNS question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsOutcome {
    /// NOERROR with answer records.
    Answered,
    /// NOERROR without answer records: the name exists, not with this type.
    Empty,
    /// Another rcode than NOERROR.
    Failed,
    /// The answer was cut (TC).
    Truncated,
    /// No answer in time.
    Unanswered,
    /// An answer to no question that was seen.
    Unasked,
}

/// What is known of a DNS exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DnsDetail {
    /// Transaction id.
    pub id: u16,
    /// Name asked for, lower case, with its final dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type asked for: `A`, `AAAA`, … or `TYPEn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qtype: Option<String>,
    /// What became of it.
    pub outcome: DnsOutcome,
    /// `NOERROR`, `NXDOMAIN`, … or `RCODEn`; absent without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rcode: Option<String>,
    /// Answer records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<u16>,
    /// From the first sight of the question to the first sight of its answer, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// How long an answer was waited for, milliseconds, when none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_ms: Option<f64>,
    /// How often the question was asked, when more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}
