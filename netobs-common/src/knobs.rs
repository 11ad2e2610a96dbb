//! What the daemon tells the kernel programs at load: constants to the verifier.

use crate::counters::family;

/// No drop reason.
pub const NO_REASON: u32 = u32::MAX;

/// Where the machine passes the arguments of a function: codes of [`Knobs::registers`]. The programs are the same for all
/// machines, `struct pt_regs` is not.
pub mod registers {
    /// Another machine: probes are of no use.
    pub const UNKNOWN: u32 = 0;
    /// x86-64: `di`, `si` (`arch/x86/include/asm/ptrace.h`).
    pub const X86_64: u32 = 1;
    /// arm64: `regs[0]`, `regs[1]` (`arch/arm64/include/asm/ptrace.h`).
    pub const ARM64: u32 = 2;
}

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
    /// Drop reasons (numbers of the running kernel) of fragments that could not be put together. Such packets waited in a
    /// queue and have no interface any more (`struct inet_frag_queue`), so they are told without a namespace. Unused
    /// entries are [`NO_REASON`].
    pub fragment_reasons: [u32; 4],
    /// 1: DNS is looked at.
    pub dns: u32,
    /// 1: ICMP errors about packets' sizes are looked at.
    pub mtu: u32,
    /// 1: TCP resets are looked at.
    pub resets: u32,
    /// 1: `skb:kfree_skb` has a fourth argument, the receiving socket (since 6.11).
    pub rx_socket: u32,
    /// 1: `tcp:tcp_send_reset` has a third argument, the reason (since 6.10).
    pub reset_reason: u32,
    /// 1: `skb:kfree_skb` has a third argument, the reason (since 5.17).
    pub drop_reason: u32,
    /// How to find the arguments of a function that a probe sits on, see [`registers`].
    pub registers: u32,
    /// Zero.
    pub padding: u32,
}

impl Knobs {
    /// Defaults; `own_netns` is to be filled in.
    pub const DEFAULT: Self = Self {
        window_ns: 1_000_000_000,
        // A drop, an ICMP error and a reset say by a few what there is to say; DNS messages each ask something else.
        burst: [16, 2048, 16, 16, 16],
        // Evidence of sockets has no buckets: this is its whole budget.
        calm: [0, 1024, 0, 0, 256],
        own_netns: 0,
        scope_all: 0,
        dns_ports: [53; 4],
        fragment_reasons: [NO_REASON; 4],
        dns: 1,
        mtu: 1,
        resets: 1,
        rx_socket: 0,
        reset_reason: 0,
        drop_reason: 0,
        registers: registers::UNKNOWN,
        padding: 0,
    };
}

const _: () = assert!(size_of::<Knobs>() == 8 + 16 * family::COUNT + 8 + 8 + 16 + 32);
