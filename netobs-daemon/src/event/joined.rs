//! What the flow table hands on: records of one packet, and packets of one exchange, made one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netobs_common::trail::Point;

use super::observation::DnsOutcome;
use super::raw::{Context, DnsQuestion, RawDrop, Tuple};

/// An event before its ends have names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Number by which later events name this one as evidence. Ascending, from 1, in the order of emission.
    pub reference: u64,
    /// References of earlier events that explain this one, ascending.
    pub evidence: Vec<u64>,
    /// When the packet met its fate, `CLOCK_BOOTTIME` nanoseconds: of a DNS question, when its answer was first seen
    /// or its time was up.
    pub boot_ns: u64,
    /// Packets this event stands for.
    pub count: u64,
    /// Where the record was made; of a DNS exchange, where the question was first seen. Absent for a coalesced burst,
    /// of which only the namespace and the interface are known.
    pub context: Option<Context>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Interface index in that namespace.
    pub ifindex: Option<u32>,
    /// Addresses and ports as in the packet; of a DNS exchange, as in the question when first seen.
    pub tuple: Option<Tuple>,
    /// Address translation.
    pub nat: Option<Translation>,
    /// Where the packet was met before its fate, oldest first.
    pub points: Vec<Point>,
    /// What happened.
    pub kind: JoinedKind,
}

/// Address translation of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// As the opener sent it.
    pub original: Tuple,
    /// The destination that was chosen instead of the original one; `None` when only the source was translated.
    pub backend: Option<(IpAddr, Option<u16>)>,
    /// Whether the packet is an answer: it goes from the backend to the opener.
    pub reply: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinedKind {
    /// The kernel dropped a packet.
    Drop(Box<RawDrop>),
    /// A DNS question and what became of it.
    Dns(Box<DnsExchange>),
    /// Packets of a burst that were counted, not recorded.
    Coalesced(Coalesced),
}

/// A DNS question and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsExchange {
    /// Transaction id.
    pub id: u16,
    /// What was asked; `None` for an answer that does not repeat its question.
    pub question: Option<Arc<DnsQuestion>>,
    /// What became of it.
    pub outcome: DnsOutcome,
    /// RCODE of the answer.
    pub rcode: Option<u8>,
    /// Answer records.
    pub answers: Option<u16>,
    /// From the first sight of the question to that of the answer, nanoseconds.
    pub latency_ns: Option<u64>,
    /// How long an answer was waited for in vain, nanoseconds.
    pub waited_ns: Option<u64>,
    /// How often the question was asked; 0 when it was not seen.
    pub attempts: u32,
    /// Who answered, as on the wire where the answer was first seen.
    pub answered_by: Option<SocketAddr>,
    /// Where the answer was first seen.
    pub answer: Option<Sighting>,
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where and when.
    pub context: Context,
    /// Whether the interface was about to send it (else: received it).
    pub egress: bool,
}

/// Packets of a burst that were counted, not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesced {
    /// Dropped packets.
    Drops {
        /// Number of the running kernel's `enum skb_drop_reason`.
        reason: u32,
        /// Bytes of the packets.
        bytes: u64,
    },
    /// DNS messages.
    Dns {
        /// Answers, else questions.
        response: bool,
        /// Bytes of the packets.
        bytes: u64,
    },
}
