//! The ABI between netobs's kernel programs and its daemon: what crosses the boundary, once.
//!
//! Every type here is `repr(C)`, has its padding written out and its layout asserted, so that the two
//! compilers which build the two sides (bpfel and the host's) cannot disagree. Multi-byte fields are in the
//! machine's byte order unless a field says otherwise; addresses and ports that come off the wire say so.
#![no_std]

pub mod connection;
pub mod counters;
pub mod knobs;
pub mod offsets;
pub mod record;
pub mod tcp;
pub mod trail;

/// Version of everything in this crate. The daemon refuses an object that carries another one, and the reader
/// refuses a record that does.
pub const ABI_VERSION: u16 = 4;

/// Interface index of the loopback in every network namespace (`LOOPBACK_IFINDEX`, `include/net/flow.h`).
pub const LOOPBACK: u32 = 1;

/// Names of maps and programs, as they stand in the object.
pub mod names {
    /// Ring of [`crate::record::DropRecord`]s.
    pub const RING_DROP: &str = "RING_DROP";
    /// Ring of [`crate::record::DnsRecord`]s.
    pub const RING_DNS: &str = "RING_DNS";
    /// Ring of [`crate::record::IcmpRecord`]s.
    pub const RING_MTU: &str = "RING_MTU";
    /// Ring of [`crate::record::ResetRecord`]s.
    pub const RING_RESET: &str = "RING_RESET";
    /// Ring of [`crate::record::SocketRecord`]s.
    pub const RING_SOCKET: &str = "RING_SOCKET";
    /// LRU hash of [`crate::connection::ConnectionKey`] to [`crate::connection::Opening`].
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Per-CPU array of one [`crate::trail::CpuState`].
    pub const CPU_STATE: &str = "CPU_STATE";
    /// Array of one `u32`: 1 while the reader sleeps and wants a wake-up.
    pub const ARMED: &str = "ARMED";
    /// Hash of [`crate::record::BucketKey`] to [`crate::record::Bucket`].
    pub const BUCKETS: &str = "BUCKETS";
    /// Likewise, for what [`BUCKETS`] has no room for: keys without source address and port.
    pub const BUCKETS_COARSE: &str = "BUCKETS_COARSE";
    /// As [`BUCKETS`], for resets.
    pub const BUCKETS_RESET: &str = "BUCKETS_RESET";
    /// For what [`BUCKETS_RESET`] has no room for: keys without a destination.
    pub const BUCKETS_RESET_COARSE: &str = "BUCKETS_RESET_COARSE";
    /// For what the coarse ones have no room for: keys of kind, reason and location only.
    pub const BUCKETS_LAST: &str = "BUCKETS_LAST";
    /// Hash whose keys are the inodes (`u32`) of the network namespaces to observe, unless all are.
    pub const SCOPE: &str = "SCOPE";
    /// Read-only global of type [`crate::offsets::Offsets`].
    pub const OFFSETS: &str = "OFFSETS";
    /// Read-only global of type [`crate::knobs::Knobs`].
    pub const KNOBS: &str = "KNOBS";
    /// Read-only global `u16` with [`crate::ABI_VERSION`].
    pub const ABI: &str = "NETOBS_ABI";
}
