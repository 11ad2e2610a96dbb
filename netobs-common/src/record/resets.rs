//! Records of TCP resets: the packet on its way, and what sockets say of it.

use super::Header;

/// Who opened a connection, see [`ResetRecord::opener`].
pub mod opener {
    /// Not known.
    pub const UNKNOWN: u8 = 0;
    /// The source of the reset.
    pub const SOURCE: u8 = 1;
    /// Its destination.
    pub const DESTINATION: u8 = 2;
}

/// A TCP segment with RST (RFC 9293 section 3.5.2) on an interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct ResetRecord {
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
    /// Sequence number, host byte order.
    pub sequence: u32,
    /// Acknowledgment number, host byte order.
    pub acknowledgment: u32,
    /// Interface by which it came into this namespace (`skb->skb_iif`); 0: it was made here.
    pub arrival_ifindex: u32,
    /// Flags byte of the TCP header.
    pub tcp_flags: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// One of [`super::direction`].
    pub direction: u8,
    /// One of [`opener`].
    pub opener: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Zero.
    pub padding: [u8; 3],
    /// When the connection's SYN was seen, `CLOCK_BOOTTIME` nanoseconds; 0: unknown.
    pub opened_ns: u64,
}

/// What a socket had to do with a reset, see [`SocketRecord::side`].
pub mod side {
    /// It sent one on its own account (`tcp_send_active_reset`): its owner gave up the connection.
    pub const SENT: u8 = 1;
    /// A packet was answered with one (`tcp_v4_send_reset`, `tcp_v6_send_reset`), for a socket or for the lack of one.
    pub const ANSWERED: u8 = 2;
    /// It received one, and gave up the connection (`tcp_reset`).
    pub const RECEIVED: u8 = 3;
}

/// What a socket says of a reset. Addresses and ports are those of the reset.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SocketRecord {
    /// Common to all records; [`Header::packet`] and [`Header::digest`] are 0: the reset has no `sk_buff` yet, or no more.
    pub header: Header,
    /// Who sends the reset, network byte order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Who receives it, likewise.
    pub destination: [u8; 16],
    /// Port of the former, network byte order.
    pub source_port: [u8; 2],
    /// Port of the latter, network byte order.
    pub destination_port: [u8; 2],
    /// `enum sk_rst_reason` of the running kernel; its names come from that kernel's BTF. `u32::MAX`: not said.
    pub reason: u32,
    /// Sequence number of the packet that was answered, host byte order; 0: none was.
    pub trigger_sequence: u32,
    /// State of the socket (`include/net/tcp_states.h`); 0: there is none. Of one that its owner closes or disconnects it may
    /// be `TCP_CLOSE` already.
    pub state: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// One of [`side`].
    pub side: u8,
    /// Flags byte of the TCP header of the packet that was answered; 0: none was, or it could not be read.
    pub trigger_flags: u8,
    /// 1: the reset stays in the loopback of a namespace that is not the daemon's, so this is the only sight of it.
    pub alone: u8,
    /// One of [`opener`].
    pub opener: u8,
    /// Zero.
    pub padding: [u8; 6],
    /// When the connection was opened, `CLOCK_BOOTTIME` nanoseconds; 0: unknown.
    pub opened_ns: u64,
}

const _: () = {
    assert!(size_of::<ResetRecord>() == 112);
    assert!(size_of::<SocketRecord>() == 112);
    assert!(core::mem::offset_of!(ResetRecord, source_port) == core::mem::offset_of!(ResetRecord, source) + 32);
    assert!(core::mem::offset_of!(SocketRecord, source_port) == core::mem::offset_of!(SocketRecord, source) + 32);
};
