//! What the flow table hands on: records of one packet, and packets of one exchange, made one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netobs_common::trail::{Point, TRAIL_POINTS};

use super::observation::{DnsOutcome, FloodEnd, FloodPhase, MtuCause, ResetCause};
use super::raw::{Context, DnsQuestion, RawDrop, RawIcmp, RawReset, RawSocket, Side, SizeError, Tuple};

/// What an event counts as in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandsFor {
    /// A record of this family ([`netobs_common::counters::family`]).
    Record(usize),
    /// Packets of this family that were counted, not recorded.
    Summary(usize),
    /// Neither: it tells of other events (a flood).
    Others,
}

/// An event before its ends have names.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// What it counts as in the ledger.
    pub stands_for: StandsFor,
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
    /// In place of `tuple`: the one end that is known of packets that were counted for many.
    pub half: Option<Half>,
    /// Address translation.
    pub nat: Option<Translation>,
    /// Of a drop: the kernel answered the packet with a reset, which is told by itself.
    pub answered: bool,
    /// Where the packet was met before its fate, oldest first.
    pub points: Vec<Point>,
    /// What happened.
    pub kind: JoinedKind,
}

/// Where a packet was met last before it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPoint {
    /// The place.
    pub point: Point,
    /// Inode of the network namespace where it was dropped.
    pub netns: Option<u32>,
    /// It is a packet of IPv6, else of IPv4.
    pub ipv6: bool,
}

impl LastPoint {
    /// Of a drop's event. `None` where it was met nowhere, or so often that a full trail, which keeps its oldest points, does
    /// not know the last one.
    pub fn of(joined: &Joined) -> Option<Self> {
        let point = *joined.points.last().filter(|_| joined.points.len() < TRAIL_POINTS)?;
        let ipv6 = joined.tuple.is_some_and(|tuple| tuple.source.is_ipv6());
        Some(Self { point, netns: joined.netns, ipv6 })
    }
}

/// The one end that is known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// Which end.
    pub side: Side,
    /// Its address.
    pub ip: IpAddr,
    /// Its port, where it is known.
    pub port: Option<u16>,
    /// IP protocol number.
    pub protocol: u8,
}

impl Joined {
    /// An event about one packet or none, without an address yet.
    pub fn new(stands_for: StandsFor, boot_ns: u64, kind: JoinedKind) -> Self {
        Self {
            stands_for,
            reference: 0,
            evidence: Vec::new(),
            boot_ns,
            count: 1,
            context: None,
            netns: None,
            ifindex: None,
            tuple: None,
            half: None,
            nat: None,
            answered: false,
            points: Vec::new(),
            kind,
        }
    }

    /// The same of a record, which says where and when.
    pub fn of_record(stands_for: StandsFor, context: Context, kind: JoinedKind) -> Self {
        let Context { netns, ifindex, boot_ns, .. } = context;
        Self { context: Some(context), netns, ifindex, ..Self::new(stands_for, boot_ns, kind) }
    }

    /// Address of the sender, as in the packet.
    pub fn source(&self) -> Option<IpAddr> {
        self.tuple.map(|tuple| tuple.source).or(self.end(Side::Source))
    }

    /// Address of the receiver, as in the packet.
    pub fn destination(&self) -> Option<IpAddr> {
        self.tuple.map(|tuple| tuple.destination).or(self.end(Side::Destination))
    }

    fn end(&self, side: Side) -> Option<IpAddr> {
        self.half.filter(|half| half.side == side).map(|half| half.ip)
    }

    /// IP protocol number.
    pub fn protocol(&self) -> Option<u8> {
        self.tuple.map(|tuple| tuple.protocol).or(self.half.map(|half| half.protocol))
    }

    /// The kernel's drop that this is about.
    pub fn dropped(&self) -> Option<&RawDrop> {
        match &self.kind {
            JoinedKind::Drop(drop) => Some(drop),
            JoinedKind::Mtu(failure) => failure.drop.as_deref(),
            _ => None,
        }
    }
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
#[derive(Clone, Debug, PartialEq)]
pub enum JoinedKind {
    /// The kernel dropped a packet.
    Drop(Box<RawDrop>),
    /// A DNS question and what became of it.
    Dns(Box<DnsExchange>),
    /// A packet was too big for its way, or its parts did not all come.
    Mtu(Box<SizeFailure>),
    /// A TCP connection was reset, or refused.
    Reset(Box<Reset>),
    /// A source resets far more connections than it used to, or no longer does.
    Flood(Box<Flood>),
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

/// A packet that was too big for its way, or whose parts did not all come. At least one of `icmp` and `drop` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeFailure {
    /// What failed.
    pub cause: MtuCause,
    /// The ICMP error about it.
    pub icmp: Option<Box<RawIcmp>>,
    /// The kernel's drop of it (of its fragments: the first of them).
    pub drop: Option<Box<RawDrop>>,
}

/// A reset, and what sockets on this node say of it. At least one of the three is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// What it means.
    pub cause: ResetCause,
    /// The packet, as first seen on an interface.
    pub packet: Option<Box<RawReset>>,
    /// What the sending side says.
    pub sender: Option<Box<RawSocket>>,
    /// What the receiving side says.
    pub receiver: Option<Box<RawSocket>>,
    /// Of a rejected one: where the packet that a rule dropped had been met last.
    pub rejected_at: Option<LastPoint>,
}

impl Reset {
    /// Who opened the connection: of a refused one, who was refused; else where its SYN was seen.
    pub fn opener(&self) -> Option<Side> {
        if self.cause == ResetCause::Refused {
            return Some(Side::Destination);
        }
        let sockets = || [&self.sender, &self.receiver].into_iter().flatten().find_map(|socket| socket.opener);
        self.packet.as_ref().and_then(|packet| packet.opener).or_else(sockets)
    }

    /// When it was opened, `CLOCK_BOOTTIME` nanoseconds.
    pub fn opened_ns(&self) -> Option<u64> {
        let sockets = || [&self.sender, &self.receiver].into_iter().flatten().find_map(|socket| socket.opened_ns);
        self.packet.as_ref().and_then(|packet| packet.opened_ns).or_else(sockets)
    }
}

/// A source that resets far more connections than it used to.
#[derive(Clone, Debug, PartialEq)]
pub struct Flood {
    /// Whether it begins or is over.
    pub phase: FloodPhase,
    /// Why it is told as over.
    pub end_cause: Option<FloodEnd>,
    /// When it began, `CLOCK_BOOTTIME` nanoseconds.
    pub since_ns: u64,
    /// Nanoseconds since then; at its end, until its last packet.
    pub duration_ns: u64,
    /// Resets since then.
    pub packets: u64,
    /// Resets per second: at the onset of the last moment, at the end of the whole time.
    pub rate: f64,
    /// The source's own rate before, resets per second.
    pub baseline: f64,
    /// Rate above which it counts as a flood, resets per second.
    pub threshold: f64,
    /// Destinations so far, at most as many as are told apart.
    pub destinations: u64,
    /// Resets to the destination with the most of them; `None`: no destination is known.
    pub to_main: Option<u64>,
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
        /// Address they were freed from.
        location: u64,
        /// One of [`segment`](crate::event::tcp::segment).
        segment: u8,
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
    /// ICMP errors about packets' sizes.
    Icmp {
        /// What they say; `None`: an unknown type and code.
        error: Option<SizeError>,
        /// Bytes of the packets.
        bytes: u64,
    },
    /// TCP resets.
    Resets {
        /// They answer SYNs.
        refused: bool,
        /// They stay in a pod's own loopback.
        alone: bool,
        /// Bytes of the packets.
        bytes: u64,
    },
}
