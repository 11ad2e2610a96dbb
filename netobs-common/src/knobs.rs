//! What the daemon tells the kernel programs at load: constants to the verifier.

use crate::counters::family;

/// Set before loading, read-only afterwards.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Knobs {
    /// Length of a coalescing window, nanoseconds.
    pub window_ns: u64,
    /// Records of a family that a bucket key may have whole in a window before its packets are coalesced, indexed by
    /// [`crate::counters::family`].
    pub burst: [u64; family::COUNT],
    /// Records of a family that a CPU lets through in a window without asking the buckets at all: what keeps the
    /// look-up off the path of a calm node. Indexed likewise.
    pub calm: [u64; family::COUNT],
    /// Inode of the network namespace the daemon is in, where tcx and netfilter programs are attached.
    pub own_netns: u32,
    /// 1: observe every network namespace of the machine; 0: those in the SCOPE map.
    pub scope_all: u32,
    /// UDP ports of DNS servers, host byte order; unused entries repeat the first.
    pub dns_ports: [u16; 4],
    /// 1: DNS is looked at.
    pub dns: u32,
    /// 1: `skb:kfree_skb` has a fourth argument, the receiving socket (since 6.11).
    pub rx_socket: u32,
}

impl Knobs {
    /// Defaults; `own_netns` is to be filled in.
    pub const DEFAULT: Self = Self {
        window_ns: 1_000_000_000,
        burst: [16, 2048],
        calm: [0, 1024],
        own_netns: 0,
        scope_all: 0,
        dns_ports: [53; 4],

        dns: 1,
        rx_socket: 0,
    };
}

const _: () = assert!(size_of::<Knobs>() == 64);
