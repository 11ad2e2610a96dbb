//! The way of a packet through one CPU: where the programs met it, remembered beside the counters so that a drop can
//! say which hooks its packet passed, without a record per hook.

use crate::counters::{Counters, family};

/// Codes of [`Point::hook`].
pub mod hook {
    /// tcx, the interface received the packet.
    pub const TCX_INGRESS: u32 = 1;
    /// tcx, the interface is about to send the packet.
    pub const TCX_EGRESS: u32 = 2;
    /// netfilter; add the kernel's hook number (`enum nf_inet_hooks`: PREROUTING 0, INPUT 1, FORWARD 2, OUTPUT 3,
    /// POSTROUTING 4).
    pub const NETFILTER: u32 = 16;
}

/// Codes of [`Trail::told`].
pub mod told {
    /// Nothing yet.
    pub const NOTHING: u32 = 0;
    /// A record was made.
    pub const WHOLE: u32 = 1;
    /// It was counted in a bucket, or lost.
    pub const COUNTED: u32 = 2;
}

/// One place where a packet was met.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Point {
    /// tcx: the interface. netfilter: the input interface, 0 where the hook has none.
    pub ifindex: u32,
    /// netfilter: the output interface, 0 where the hook has none. tcx: 0.
    pub out_ifindex: u32,
    /// One of [`hook`].
    pub hook: u32,
}

/// Points that are kept of one packet; a longer way keeps its oldest.
pub const TRAIL_POINTS: usize = 6;
/// Packets a CPU remembers. Power of two. A packet mostly runs to its end on one CPU before the next one starts; the
/// others are for what is made or nests in between (an ICMP error or a reset about it, softirq in process context). One that
/// falls into another's place ends that one's trail: one in so many.
pub const TRAILS: usize = 128;

/// The way of one packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Address of the `sk_buff`; 0: free.
    pub packet: u64,
    /// See [`digest`].
    pub digest: u32,
    /// Digest of the packet's addresses and ports when a record was last made of it; 0: none made.
    pub recorded: u32,
    /// Used entries of `points`.
    pub length: u32,
    /// What has been told of it, see [`told`].
    pub told: u32,
    /// Oldest first.
    pub points: [Point; TRAIL_POINTS],
    /// Zero. Rounds the size up to a power of two, so that an index is a shift away.
    pub reserved: [u64; 4],
}

/// All that a CPU keeps: one map value, so one look-up serves the counters and the trails.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuState {
    /// The kernel side of the loss ledger.
    pub counters: Counters,
    /// Start of the current calm window of each family, `CLOCK_BOOTTIME` nanoseconds.
    pub calm_start_ns: [u64; family::COUNT],
    /// Records let through in it.
    pub calm_used: [u64; family::COUNT],
    /// Indexed by [`slot`].
    pub trails: [Trail; TRAILS],
}

/// Which trail an `sk_buff` uses, from the low half of its address. `sk_buff`s are cache-line aligned and some 256 bytes
/// apart.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the verifier limits calls, and each costs")]
pub const fn slot(packet: u32) -> usize {
    ((packet >> 8) ^ (packet >> 12)) as usize & (TRAILS - 1)
}

/// Digest of what forwarding and NAT leave alone in a network header: for IPv4 of the total length, identification and
/// protocol; for IPv6 of payload length, flow label and next header. Never 0.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the verifier limits calls, and each costs")]
pub const fn digest(length: u16, identification: u32, protocol: u8) -> u32 {
    ((length as u32) << 16 ^ identification ^ (protocol as u32) << 24) | 1 << 31
}

/// Adds to a digest a word of the transport header beyond what NAT rewrites. Without it, packets of one size and with
/// identification 0, as the kernel sends many, would be alike.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the verifier limits calls, and each costs")]
pub const fn with_transport(digest: u32, word: u32) -> u32 {
    digest ^ (word.rotate_left(7) & !(1 << 31))
}

/// Where the word for [`with_transport`] lies, from the start of the transport header (TCP: sequence number; UDP: first
/// word of the payload; ICMP: identifier and sequence); `None` for other protocols.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the verifier limits calls, and each costs")]
pub const fn transport_word(protocol: u8) -> Option<usize> {
    match protocol {
        // TCP, ICMP, ICMPv6.
        6 | 1 | 58 => Some(4),
        // UDP.
        17 => Some(8),
        _ => None,
    }
}

const _: () = {
    assert!(size_of::<Point>() == 12);
    assert!(size_of::<Trail>() == 24 + 12 * TRAIL_POINTS + 32);
    assert!(TRAILS.is_power_of_two());
    assert!(size_of::<CpuState>() == size_of::<Counters>() + 16 * family::COUNT + TRAILS * size_of::<Trail>());
    assert!(crate::record::DROP_POINTS == TRAIL_POINTS);
};
