//! A record of the kernel programs, decoded: typed, with `None` for what could not be read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netobs_common::counters::family;
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

/// Multicast, or the limited broadcast address (RFC 919 section 7).
pub fn is_group(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
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

/// Size of a packet as its headers say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the IP packet, its header included (IPv4 total length; IPv6 payload length and 40). Of a packet that is still
    /// to be segmented, of all segments together.
    pub packet: u32,
    /// Bytes of its network and transport headers: with the GSO segment size, what one segment has.
    pub headers: u32,
}

/// A part of a packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// What all parts of a packet have in common.
    pub identification: u32,
    /// Where it begins in the whole, bytes.
    pub offset: u16,
    /// Whether more parts follow.
    pub more: bool,
}

/// A packet the kernel dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDrop {
    /// Where and when.
    pub context: Context,
    /// Kernel address the packet was freed from.
    pub location: u64,
    /// Number of the running kernel's `enum skb_drop_reason`, or one that was concluded;
    /// [`NO_REASON`](netobs_common::knobs::NO_REASON): the kernel tells none.
    pub reason: u32,
    /// Packet length in bytes, as far as it was built.
    pub length: u32,
    /// MTU of the interface.
    pub mtu: Option<u32>,
    /// Interface that the packet's route leaves by, in its namespace.
    pub out_ifindex: Option<u32>,
    /// That interface's MTU.
    pub out_mtu: Option<u32>,
    /// MTU of the other end of a veth pair.
    pub peer_mtu: Option<u32>,
    /// GSO segment size.
    pub gso_size: Option<u16>,
    /// What its headers say of its size.
    pub size: Option<Size>,
    /// What they say of it as a fragment; `None`: it is whole, or they could not be read.
    pub fragment: Option<Fragment>,
    /// TTL or hop limit.
    pub hop_limit: Option<u8>,
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

/// What an ICMP error says of a packet's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// Fragmentation needed and DF set (RFC 792).
    FragmentationNeeded,
    /// Packet too big (RFC 4443 section 3.2).
    PacketTooBig,
    /// Fragment reassembly time exceeded (RFC 792, RFC 4443 section 3.3).
    ReassemblyTimeExceeded,
}

/// An ICMP error about a packet's size, seen on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawIcmp {
    /// Where and when.
    pub context: Context,
    /// Who says it.
    pub source: IpAddr,
    /// To whom: the sender of the packet that it is about.
    pub destination: IpAddr,
    /// Whether the interface was about to send it (else: received it).
    pub egress: bool,
    /// Whether this is the same packet once more, under the addresses that translation has given it since.
    pub translated: bool,
    /// Interface by which it came into this namespace; `None`: it was made here.
    pub arrival: Option<u32>,
    /// What it says.
    pub error: SizeError,
    /// Next-hop MTU, bytes, where it says one.
    pub next_hop_mtu: Option<u32>,
    /// The packet that it is about, as far as it is quoted.
    pub quoted: Option<Quoted>,
}

/// A packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// Size.
    pub size: Option<Size>,
    /// Set for a part of a packet.
    pub fragment: Option<Fragment>,
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its source.
    Source,
    /// Its destination.
    Destination,
}

/// A TCP reset seen on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawReset {
    /// Where and when.
    pub context: Context,
    /// Who sends it, as on the wire at this place.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Whether the interface was about to send it (else: received it).
    pub egress: bool,
    /// Whether this is the same packet once more, under the addresses that translation has given it since.
    pub translated: bool,
    /// Interface by which it came into this namespace; `None`: it was made here.
    pub arrival: Option<u32>,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Flags byte of the TCP header.
    pub tcp_flags: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Who opened the connection, where its SYN was seen.
    pub opener: Option<Side>,
    /// When, `CLOCK_BOOTTIME` nanoseconds.
    pub opened_ns: Option<u64>,
}

/// What a socket had to do with a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketSide {
    /// It sent one on its own account.
    Sent,
    /// A packet was answered with one, for a socket or for the lack of one.
    Answered,
    /// It received one.
    Received,
}

/// What a socket says of a reset; addresses are those of the reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSocket {
    /// Where and when.
    pub context: Context,
    /// Who sends the reset.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What it had to do with it.
    pub side: SocketSide,
    /// Number of the running kernel's `enum sk_rst_reason`.
    pub reason: Option<u32>,
    /// State of the socket before (`include/net/tcp_states.h`); `None`: there is none.
    pub state: Option<u8>,
    /// TCP flags of the packet that was answered.
    pub trigger_flags: Option<u8>,
    /// Its sequence number.
    pub trigger_sequence: u32,
    /// The reset stays in a pod's own loopback: no interface shows it.
    pub alone: bool,
    /// Who opened the connection.
    pub opener: Option<Side>,
    /// When, `CLOCK_BOOTTIME` nanoseconds.
    pub opened_ns: Option<u64>,
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
    /// An ICMP error about a packet's size.
    Icmp(Box<RawIcmp>),
    /// A TCP reset on its way.
    Reset(Box<RawReset>),
    /// What a socket says of a reset.
    Socket(Box<RawSocket>),
}

impl RawEvent {
    /// The family of kernel programs that made the record, see [`family`].
    pub const fn family(&self) -> usize {
        match self {
            Self::Drop(_) => family::DROP,
            Self::Dns(_) => family::DNS,
            Self::Icmp(_) => family::MTU,
            Self::Reset(_) => family::RESET,
            Self::Socket(_) => family::SOCKET,
        }
    }
}
