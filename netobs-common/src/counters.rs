//! The kernel side of the loss ledger: one counter for every place where a packet can end in a program.

/// Families, each with its own ring and ledger lines.
pub mod family {
    /// Drops.
    pub const DROP: usize = 0;
    /// DNS.
    pub const DNS: usize = 1;
    /// How many there are.
    pub const COUNT: usize = 2;
}

/// What became of the packets a family's programs were run for. Two sums hold exactly:
/// `runs = seen + not_network + no_interest + repeated + out_of_scope` and
/// `seen = submitted + coalesced + ring_full + unparsed`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct FamilyCounters {
    /// Runs of the programs.
    pub runs: u64,
    /// Runs for something that is no plain IP packet (unix and netlink sockets, ARP, a VLAN tag in the frame).
    pub not_network: u64,
    /// Runs for a packet that this family does not look at.
    pub no_interest: u64,
    /// Runs for a packet of which a record was made at an earlier hook and that has not changed since.
    pub repeated: u64,
    /// Runs in a network namespace that is not observed.
    pub out_of_scope: u64,
    /// Packets of interest.
    pub seen: u64,
    /// Records put into the ring.
    pub submitted: u64,
    /// Packets counted in a bucket instead.
    pub coalesced: u64,
    /// Packets lost because the ring was full.
    pub ring_full: u64,
    /// Packets whose headers did not parse.
    pub unparsed: u64,
    /// Of `coalesced`: those for which the bucket table had no room, so that they are counted here only.
    pub coalesced_unkeyed: u64,
}

/// All families' counters, and those of the netfilter programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Counters {
    /// Indexed by [`family`].
    pub families: [FamilyCounters; family::COUNT],
    /// Runs of the netfilter programs.
    pub netfilter_runs: u64,
}

const _: () = {
    assert!(size_of::<FamilyCounters>() == 88);
    assert!(size_of::<Counters>() == 88 * family::COUNT + 8);
};
