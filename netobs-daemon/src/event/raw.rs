//! A record of the kernel programs, decoded: typed, with `None` for what could not be read.

use std::net::{IpAddr, SocketAddr};

use netobs_common::trail::Point;

/// Context that every record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// Address of the `sk_buff`: equal for two records of one packet that are close in time.
    pub packet: u64,
    /// Digest of what forwarding and NAT leave alone.
    pub digest: Option<u32>,
    /// cgroup v2 id of the owning socket.
    pub cgroup: Option<u64>,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
    /// Interface index in that namespace.
    pub ifindex: Option<u32>,
    /// CPU.
    pub cpu: u32,
}

/// Addresses and ports of a packet; ports where the protocol has them and they were captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
}

/// The packet's conntrack entry as it was when the packet died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// As the opener sent it: before DNAT.
    pub original: Tuple,
    /// As answers come back: its source is the chosen backend.
    pub reply: Tuple,
    /// `IPS_*` bits.
    pub status: u32,
}

/// A packet the kernel dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDrop {
    /// Where and when.
    pub context: Context,
    /// Kernel address the packet was freed from.
    pub location: u64,
    /// Number of the running kernel's `enum skb_drop_reason`.
    pub reason: u32,
    /// Packet length in bytes, as far as it was built.
    pub length: u32,
    /// MTU of the interface.
    pub mtu: Option<u32>,
    /// GSO segment size.
    pub gso_size: Option<u16>,
    /// `EtherType`.
    pub ethertype: u16,
    /// Address family of the owning socket.
    pub socket_family: Option<u8>,
    /// Interface name as the packet's namespace knows it.
    pub device: Option<String>,
    /// Parsed from the captured headers.
    pub tuple: Option<Tuple>,
    /// TCP flags byte, when the packet is TCP and its flags were captured.
    pub tcp_flags: Option<u8>,
    /// The packet's conntrack entry.
    pub conntrack: Option<Conntrack>,
    /// Where the packet was met before, oldest first.
    pub points: Vec<Point>,
}

/// A DNS message seen on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDns {
    /// Where and when.
    pub context: Context,
    /// Who sent it, as on the wire at this place.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Whether the interface was about to send it (else: received it).
    pub egress: bool,
    /// The message's header and first question.
    pub message: DnsMessage,
    /// Bytes of the message on the wire.
    pub message_length: u16,
}

/// Header and first question of a DNS message (RFC 1035 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    /// Transaction id.
    pub id: u16,
    /// QR: an answer.
    pub response: bool,
    /// TC: cut to fit, the client is to ask again over TCP.
    pub truncated: bool,
    /// OPCODE.
    pub opcode: u8,
    /// RCODE, the four bits of the header.
    pub rcode: u8,
    /// Answer records announced.
    pub answers: u16,
    /// The first question; `None` when there is none (QDCOUNT 0).
    pub question: Option<DnsQuestion>,
}

/// A DNS question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsQuestion {
    /// Name in presentation format (RFC 1035 section 5.1 escapes), lower case, with its final dot.
    pub name: String,
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

/// Any record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEvent {
    /// A drop.
    Drop(Box<RawDrop>),
    /// A DNS message.
    Dns(Box<RawDns>),
}
