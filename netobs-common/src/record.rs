//! The records that the kernel programs put into the rings.

mod resets;

use crate::trail::Point;
pub use resets::{ResetRecord, SocketRecord, opener, side};

/// What a record is. The numbers are ours.
pub mod kind {
    /// A [`super::DropRecord`].
    pub const DROP: u8 = 1;
    /// A [`super::DnsRecord`].
    pub const DNS: u8 = 2;
    /// An [`super::IcmpRecord`].
    pub const MTU: u8 = 3;
    /// A [`super::ResetRecord`].
    pub const RESET: u8 = 4;
    /// A [`super::SocketRecord`].
    pub const SOCKET: u8 = 5;
}

/// Begins every record. A field that could not be read is 0, which none of these ever is when known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Header {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// Bits, see [`flags`].
    pub flags: u8,
    /// Bytes of the whole record, this header included.
    pub length: u32,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// Packet identity: address of the `sk_buff`. Kernel memory is reused, so it identifies a packet only
    /// together with [`Header::digest`] and a time close by. Never shown outside the daemon.
    pub packet: u64,
    /// cgroup v2 id (inode of the cgroup's directory) of the socket that owns the packet; 0: it has none.
    pub cgroup: u64,
    /// Inode of the network namespace the packet was in; 0: unknown.
    pub netns: u32,
    /// Interface index within [`Header::netns`]; 0: unknown.
    pub ifindex: u32,
    /// Digest of what forwarding and NAT leave alone in the packet's network header, see
    /// [`crate::trail::digest`]; 0: the headers could not be read.
    pub digest: u32,
    /// CPU the program ran on.
    pub cpu: u32,
}

/// Bits of [`Header::flags`].
pub mod flags {
    /// [`super::DropRecord::tuples`] hold the packet's conntrack entry.
    pub const CONNTRACK: u8 = 1;
    /// A record of this packet was made at an earlier hook; translation has changed its addresses since.
    pub const TRANSLATED: u8 = 2;
}

/// One direction of a conntrack entry (`struct nf_conntrack_tuple`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Tuple {
    /// Source address, network byte order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Source port, network byte order (for ICMP: the identifier).
    pub source_port: [u8; 2],
    /// Destination port, network byte order (for ICMP: type and code).
    pub destination_port: [u8; 2],
    /// Layer 3 protocol: 2 (`NFPROTO_IPV4`) or 10 (`NFPROTO_IPV6`).
    pub family: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: u16,
}

/// Bytes of the network header and what follows it that a drop carries at most: IPv6 (40), a fragment or options
/// header (16) and TCP without options (20).
pub const DROP_HEADERS: usize = 80;
/// Points of a packet's way that a drop carries at most.
pub const DROP_POINTS: usize = 6;

/// `skb:kfree_skb`, one packet freed with a drop reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct DropRecord {
    /// Common to all records.
    pub header: Header,
    /// Address the packet was freed from (`location` of the tracepoint).
    pub location: u64,
    /// `enum skb_drop_reason` of the running kernel; its names come from that kernel's BTF.
    /// [`NO_REASON`](crate::knobs::NO_REASON): the kernel tells none.
    pub reason: u32,
    /// `skb->len`, bytes.
    pub length: u32,
    /// `net_device.mtu`, bytes; 0: no device.
    pub mtu: u32,
    /// `nf_conn.status` (`IPS_*` bits), valid with [`flags::CONNTRACK`].
    pub conntrack_status: u32,
    /// Interface that the packet's route leaves by (`dst_entry.dev`), in [`Header::netns`]; 0: it has no route yet.
    pub out_ifindex: u32,
    /// That interface's MTU, bytes; 0: unknown.
    pub out_mtu: u32,
    /// MTU of the other end, where the packet's interface is one of a veth pair, bytes; 0: unknown.
    pub peer_mtu: u32,
    /// Zero.
    pub reserved: u32,
    /// `skb_shared_info.gso_size`, bytes; 0: not a GSO packet, 0xffff: unknown.
    pub gso_size: u16,
    /// EtherType (`skb->protocol`), host byte order.
    pub ethertype: u16,
    /// `sk_family` of the owning socket; 0: no socket.
    pub socket_family: u8,
    /// Used bytes of [`DropRecord::headers`].
    pub headers_length: u8,
    /// Used entries of [`DropRecord::points`].
    pub points_length: u8,
    /// Zero.
    pub padding: u8,
    /// Conntrack's original and reply direction, valid with [`flags::CONNTRACK`].
    pub tuples: [Tuple; 2],
    /// Where this packet was met before, oldest first.
    pub points: [Point; DROP_POINTS],
    /// `net_device.name`, padded with zeros; empty: no device.
    pub device: [u8; 16],
    /// Bytes from the network header on.
    pub headers: [u8; DROP_HEADERS],
}

/// Direction in which a tcx program met a packet, seen from the interface.
pub mod direction {
    /// The interface received it.
    pub const INGRESS: u8 = 1;
    /// The interface is about to send it.
    pub const EGRESS: u8 = 2;
}

/// A DNS message over UDP. The message follows this structure in the ring, cut to the size class
/// ([`DNS_CLASSES`]) that the record was reserved in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct DnsRecord {
    /// Common to all records.
    pub header: Header,
    /// Source address, network byte order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Source port, network byte order.
    pub source_port: [u8; 2],
    /// Destination port, network byte order.
    pub destination_port: [u8; 2],
    /// Bytes of the DNS message on the wire (UDP length less 8).
    pub message_length: u16,
    /// Bytes of it that follow.
    pub captured: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// Zero.
    pub padding: u16,
    /// Zero.
    pub reserved: u32,
}

/// Sizes in bytes of the DNS records in the ring, [`DnsRecord`] included. The largest holds the DNS header and the
/// longest question (12 + 255 + 4 bytes, RFC 1035 section 4.1); answers' records are counted, not carried.
pub const DNS_CLASSES: [usize; 3] = [128, 192, 376];

/// Bytes of the quoted packet that an ICMP record carries at most: IPv6 (40), a fragment header (8) and the first 8 bytes
/// of what follows fit well; IPv4 with all its options does.
pub const QUOTED: usize = 80;

/// An ICMP or `ICMPv6` error about a packet's size: fragmentation needed (RFC 792, RFC 1191 section 4), packet too big (RFC
/// 4443 section 3.2), or reassembly time exceeded (RFC 792, RFC 4443 section 3.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct IcmpRecord {
    /// Common to all records.
    pub header: Header,
    /// Who says it, network byte order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// To whom, likewise: the sender of the packet that it is about.
    pub destination: [u8; 16],
    /// Next-hop MTU that the message says, bytes, host byte order; 0: it says none.
    pub next_hop_mtu: u32,
    /// Interface by which the message came into this namespace (`skb->skb_iif`); 0: it was made here.
    pub arrival_ifindex: u32,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// One of [`direction`].
    pub direction: u8,
    /// Used bytes of [`IcmpRecord::quoted`].
    pub quoted_length: u8,
    /// Zero.
    pub padding: [u8; 3],
    /// The packet that it is about, from its network header on.
    pub quoted: [u8; QUOTED],
}

/// Key of a coalescing bucket: what makes packets of a burst the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct BucketKey {
    /// Source address, network byte order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Inode of the network namespace; 0: unknown.
    pub netns: u32,
    /// Interface index; 0: unknown.
    pub ifindex: u32,
    /// Drop reason, as in [`DropRecord::reason`]; ICMP type and code (in the low two bytes, the type above); else 0.
    pub reason: u32,
    /// Destination port of a drop, network byte order; zero where the protocol has none. Else zero: a client's
    /// questions, a server's answers and the resets from one address to another are one key each.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// One of [`kind`].
    pub kind: u8,
    /// 4, 6, or 0 when the headers could not be read.
    pub ip_version: u8,
    /// For DNS: 1 answers, 0 questions. For resets: 1 those that answer a SYN, 0 others. For ICMP errors: 1 those that this
    /// node made, 0 others.
    pub response: u8,
    /// Of [`left_out`]: what is zero because the bucket is one for all of them, not because the packets have it so.
    pub left_out: u8,
    /// For drops: one of [`crate::tcp::segment`]; else 0.
    pub segment: u8,
    /// For drops: where the packets were freed from (low half of `location` of the tracepoint: kernel code lies within 4 GiB of
    /// itself, and the programs' stack has no room for more); else 0.
    pub location: u32,
}

/// Bits of [`BucketKey::left_out`].
pub mod left_out {
    /// The source address.
    pub const SOURCE: u8 = 1;
    /// The destination address.
    pub const DESTINATION: u8 = 2;
    /// The destination port.
    pub const PORT: u8 = 4;
}

/// State of a coalescing bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Bucket {
    /// Start of the current window, `CLOCK_BOOTTIME` nanoseconds.
    pub window_start_ns: u64,
    /// Records let through whole in the current window.
    pub used: u64,
    /// Packets counted instead of recorded, since the bucket was made. Only grows.
    pub coalesced: u64,
    /// Bytes (`skb->len`) of those packets. Only grows.
    pub coalesced_bytes: u64,
    /// Last packet, `CLOCK_BOOTTIME` nanoseconds.
    pub last_ns: u64,
}

const _: () = {
    assert!(size_of::<Header>() == 48);
    assert!(size_of::<Tuple>() == 40);
    assert!(size_of::<DropRecord>() == 48 + 48 + 80 + 12 * DROP_POINTS + 16 + DROP_HEADERS);
    assert!(size_of::<DnsRecord>() == 96);
    assert!(size_of::<IcmpRecord>() == 96 + QUOTED);
    assert!(size_of::<BucketKey>() == 56);
    assert!(size_of::<Bucket>() == 40);
    // The kernel programs write both addresses, and both ports, as words.
    assert!(core::mem::offset_of!(DnsRecord, source).is_multiple_of(4));
    assert!(core::mem::offset_of!(DnsRecord, destination) == core::mem::offset_of!(DnsRecord, source) + 16);
    assert!(core::mem::offset_of!(DnsRecord, source_port).is_multiple_of(4));
    assert!(core::mem::offset_of!(DnsRecord, destination_port) == core::mem::offset_of!(DnsRecord, source_port) + 2);
    assert!(core::mem::offset_of!(DropRecord, headers).is_multiple_of(4));
    assert!(core::mem::offset_of!(BucketKey, source) == 0 && core::mem::offset_of!(BucketKey, destination) == 16);
    assert!(DNS_CLASSES[2] - size_of::<DnsRecord>() >= 12 + 255 + 4);
    assert!(DNS_CLASSES[0].is_multiple_of(8) && DNS_CLASSES[1].is_multiple_of(8) && DNS_CLASSES[2].is_multiple_of(8));
};
