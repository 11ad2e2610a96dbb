//! The maps. Sizes are defaults; the daemon sets those of its configuration at load.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use netobs_common::connection::{ConnectionKey, Opening};
use netobs_common::record::{Bucket, BucketKey};
use netobs_common::trail::CpuState;

/// Drops; see `netobs_common::names`.
#[map]
pub static RING_DROP: RingBuf = RingBuf::with_byte_size(1 << 21, 0);

/// DNS messages.
#[map]
pub static RING_DNS: RingBuf = RingBuf::with_byte_size(1 << 21, 0);

/// ICMP errors about packets' sizes.
#[map]
pub static RING_MTU: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// TCP resets.
#[map]
pub static RING_RESET: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What sockets say of resets.
#[map]
pub static RING_SOCKET: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// Who opened connections.
#[map]
pub static CONNECTIONS: LruHashMap<ConnectionKey, Opening> =
    LruHashMap::with_max_entries(netobs_common::connection::CONNECTIONS, 0);

/// Counters and trails.
#[map]
pub static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// 1 while the reader sleeps.
#[map]
pub static ARMED: Array<u32> = Array::with_max_entries(1, 0);

/// Token buckets of bursts.
#[map]
pub static BUCKETS: HashMap<BucketKey, Bucket> = HashMap::with_max_entries(8192, 0);

/// Token buckets of bursts whose own key found no room.
#[map]
pub static BUCKETS_COARSE: HashMap<BucketKey, Bucket> = HashMap::with_max_entries(1024, 0);

/// The same two for resets.
#[map]
pub static BUCKETS_RESET: HashMap<BucketKey, Bucket> = HashMap::with_max_entries(8192, 0);
#[map]
pub static BUCKETS_RESET_COARSE: HashMap<BucketKey, Bucket> = HashMap::with_max_entries(1024, 0);

/// Token buckets for what found no room in those: one for each kind, reason and location.
#[map]
pub static BUCKETS_LAST: HashMap<BucketKey, Bucket> = HashMap::with_max_entries(1024, 0);

/// Network namespaces to observe.
#[map]
pub static SCOPE: HashMap<u32, u8> = HashMap::with_max_entries(4096, 0);

/// This CPU's state.
#[inline(always)]
pub fn cpu_state() -> Option<&'static mut CpuState> {
    let state = CPU_STATE.get_ptr_mut(0)?;
    // SAFETY: the value is this CPU's. A family's counters are written by programs that do not nest: kfree_skb is guarded
    // by the kernel against running inside itself, tcx runs with bottom halves off, and so do the places that send and
    // receive resets but for those of a process that gives up a connection, whose counters are added to atomically. netfilter programs may nest (OUTPUT in
    // process context, the others in softirq): their counter is added to atomically, and trails are written so that a
    // torn one is not believed.
    Some(unsafe { &mut *state })
}
