//! What users read of the families beside drops and DNS.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::observation::Endpoint;

/// What failed about a packet's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MtuCause {
    /// An IPv4 packet that may not be fragmented is bigger than the next hop takes; the sender was told (RFC 1191).
    FragmentationNeeded,
    /// An IPv6 packet is bigger than the next hop takes; the sender was told (RFC 8201).
    PacketTooBig,
    /// A packet bigger than an interface takes was dropped, and no ICMP error about it was seen: its sender does not know.
    ExceedsMtu,
    /// Fragments of a packet were given up before all had come.
    ReassemblyFailed,
}

impl MtuCause {
    /// All causes.
    pub const ALL: [Self; 4] =
        [Self::FragmentationNeeded, Self::PacketTooBig, Self::ExceedsMtu, Self::ReassemblyFailed];

    /// Name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FragmentationNeeded => "fragmentation_needed",
            Self::PacketTooBig => "packet_too_big",
            Self::ExceedsMtu => "exceeds_mtu",
            Self::ReassemblyFailed => "reassembly_failed",
        }
    }
}

/// How an ICMP error came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IcmpPath {
    /// This node made it.
    Sent,
    /// It was for this node itself.
    Received,
    /// It was for somebody else, a pod of this node mostly.
    Forwarded,
}

/// What is known of a packet that was too big, or whose fragments did not all come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MtuDetail {
    /// What failed.
    pub cause: MtuCause,
    /// MTU that the packet did not fit, bytes: as the ICMP error says, else of the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop_mtu: Option<u32>,
    /// Bytes of the IP packet (of one segment, where it was still to be segmented).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_length: Option<u32>,
    /// GSO segment size, bytes, where the packet was still to be segmented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso_size: Option<u16>,
    /// How the ICMP error came by; absent: none was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpPath>,
    /// Address of the router that sent the ICMP error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reported_by_ip: Option<IpAddr>,
    /// Who that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_by: Option<Endpoint>,
    /// Interface of this node (or of the pod that dropped it) that the packet did not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What all fragments of the packet have in common, where fragments failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment_id: Option<u32>,
}

/// What a reset means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetCause {
    /// A connection was asked for and refused: nothing listens on that port.
    Refused,
    /// A packet filter rule on this node dropped a packet and answered in the name of its destination.
    Rejected,
    /// An end gave up a connection that was there.
    Aborted,
    /// A packet of a connection that its receiver does not know (any more).
    NoConnection,
    /// What was seen does not tell.
    Unknown,
}

impl ResetCause {
    /// All causes.
    pub const ALL: [Self; 5] = [Self::Refused, Self::Rejected, Self::Aborted, Self::NoConnection, Self::Unknown];

    /// Name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::NoConnection => "no_connection",
            Self::Unknown => "unknown",
        }
    }
}

/// One end of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResetEnd {
    /// Its source: who sent the reset.
    Source,
    /// Its destination: whose connection ended.
    Destination,
}

/// What is known of a reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResetDetail {
    /// What it means.
    pub cause: ResetCause,
    /// Name in the running kernel's `enum sk_rst_reason`, without its prefix: why the source's kernel sent it. Absent: the
    /// source is not on this node, the kernel does not say, or no socket sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a rejected one, the netfilter hook that the rule is in, as in the drop that `evidence` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Who opened the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opener: Option<ResetEnd>,
    /// State of the source's socket before, `ESTABLISHED` for example (RFC 9293 section 3.3.2, with Linux's names).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_state: Option<String>,
    /// State of the destination's socket before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_state: Option<String>,
    /// Age of the connection, since its SYN, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<f64>,
    /// Flags of the reset, `RST` or `RST,ACK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<String>,
    /// TTL or hop limit of the reset where it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u8>,
}

/// Whether a flood begins or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FloodPhase {
    /// It begins.
    Onset,
    /// The last that is told of it, see [`FloodEnd`].
    End,
}

impl FloodPhase {
    /// Both phases.
    pub const ALL: [Self; 2] = [Self::Onset, Self::End];

    /// Name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onset => "onset",
            Self::End => "end",
        }
    }
}

/// Why nothing more is told of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FloodEnd {
    /// It is over: its source has become calm.
    Calm,
    /// The daemon ends. The flood may go on; the total is what was seen of it.
    ObserverStops,
}

impl FloodEnd {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Calm, Self::ObserverStops];

    /// Name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::ObserverStops => "observer_stops",
        }
    }
}

/// A flood of resets from one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FloodDetail {
    /// Whether it begins or is over.
    pub phase: FloodPhase,
    /// Of an end, why it is told. Absent at the onset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_cause: Option<FloodEnd>,
    /// When it began, RFC 3339 in UTC.
    pub since: String,
    /// The same in `CLOCK_BOOTTIME` nanoseconds.
    pub since_boot_ns: u64,
    /// Seconds since then; at its end, until its last packet.
    pub duration_seconds: f64,
    /// Resets since then.
    pub packets: u64,
    /// Resets per second: at the onset of the last second, at the end of the whole time.
    pub rate_per_second: f64,
    /// The source's own rate before, resets per second.
    pub baseline_per_second: f64,
    /// Rate above which it counts as a flood, resets per second.
    pub threshold_per_second: f64,
    /// Destinations that are known; the event names the one that was sent the most.
    pub destinations: u64,
    /// Resets to that one; absent: no destination is known. Of resets that were counted for many destinations together, theirs
    /// is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_to_destination: Option<u64>,
}
