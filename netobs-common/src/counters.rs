//! The kernel side of the loss ledger: one counter for every place where a packet can end in a program.

/// Families: what packets are looked at for. Each has its own ring and ledger lines.
pub mod family {
    /// Drops (`skb:kfree_skb`).
    pub const DROP: usize = 0;
    /// DNS messages (tcx).
    pub const DNS: usize = 1;
    /// ICMP errors that say that a packet was too big, or could not be put together from its fragments (tcx).
    pub const MTU: usize = 2;
    /// TCP resets on their way (tcx).
    pub const RESET: usize = 3;
    /// What sockets say of resets they send and receive (`tcp:tcp_send_reset`, `tcp:tcp_receive_reset`): the kernel's
    /// reason for a packet of [`RESET`], and the only sight of one that stays in a pod's own loopback.
    pub const SOCKET: usize = 4;
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// Hooks whose programs make records, each with its own ledger lines.
pub mod hook {
    /// tcx, or clsact where that is used instead: families DNS, MTU and RESET.
    pub const TCX: usize = 0;
    /// `skb:kfree_skb`: family DROP.
    pub const KFREE_SKB: usize = 1;
    /// `tcp:tcp_send_reset` and `tcp:tcp_receive_reset`: family SOCKET.
    pub const TCP_RESET: usize = 2;
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// What became of the runs of a hook's programs. One sum holds exactly, over the families of the hook:
/// `runs = not_network + no_interest + out_of_scope + (seen + repeated of its families)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct HookCounters {
    /// Runs of the programs.
    pub runs: u64,
    /// Runs for something that is no plain IP packet (unix and netlink sockets, ARP, a VLAN tag in the frame).
    pub not_network: u64,
    /// Runs for a packet that no family looks at.
    pub no_interest: u64,
    /// Runs in a network namespace that is not observed.
    pub out_of_scope: u64,
}

/// What became of the packets a family looks at. One sum holds exactly:
/// `seen = submitted + coalesced + ring_full + unparsed + withheld`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct FamilyCounters {
    /// Packets of interest.
    pub seen: u64,
    /// Further sights of a packet that was seen at an earlier hook, and of which nothing more is to be told.
    pub repeated: u64,
    /// Records put into the ring.
    pub submitted: u64,
    /// Packets counted in a bucket instead.
    pub coalesced: u64,
    /// Packets lost because the ring was full.
    pub ring_full: u64,
    /// Packets whose headers did not parse.
    pub unparsed: u64,
    /// Evidence beyond its budget, about packets that are counted elsewhere: what a socket says of a reset in a storm
    /// of them.
    pub withheld: u64,
    /// Of `coalesced`: those for which the bucket table had no room, so that they are counted here only.
    pub coalesced_unkeyed: u64,
}

/// All counters of a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Counters {
    /// Indexed by [`hook`].
    pub hooks: [HookCounters; hook::COUNT],
    /// Indexed by [`family`].
    pub families: [FamilyCounters; family::COUNT],
    /// Runs of the netfilter programs.
    pub netfilter_runs: u64,
}

const _: () = {
    assert!(size_of::<HookCounters>() == 32);
    assert!(size_of::<FamilyCounters>() == 64);
    assert!(size_of::<Counters>() == 32 * hook::COUNT + 64 * family::COUNT + 8);
};
