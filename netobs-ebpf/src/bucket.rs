//! Budgets: the first packets of a burst go out whole, the rest are counted exactly.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::HashMap;
use netobs_common::counters::FamilyCounters;
use netobs_common::record::{Bucket, BucketKey};
use netobs_common::trail::CpuState;

use crate::atomic;
use crate::globals::global;
use crate::maps::{BUCKETS, BUCKETS_COARSE};

/// Whether this CPU is calm enough for family `F` to let a record through without asking the buckets.
#[inline(always)]
pub fn calm<const F: usize>(state: &mut CpuState, now: u64) -> bool {
    if now.wrapping_sub(state.calm_start_ns[F]) >= global!(KNOBS.window_ns) {
        state.calm_start_ns[F] = now;
        state.calm_used[F] = 0;
    }
    if state.calm_used[F] >= global!(KNOBS.calm[F]) {
        return false;
    }
    state.calm_used[F] += 1;
    true
}

/// Whether the packet may have a record of its own; if not, it has been counted, in its key's bucket or, when the
/// table has no room for that key, in a coarser one, or, failing that too, only in the ledger.
#[inline(always)]
pub fn admit<const F: usize>(state: &mut CpuState, key: &mut BucketKey, length: u32, now: u64) -> bool {
    let counters = &mut state.counters.families[F];
    let bucket = if let Some(bucket) = bucket_of(&BUCKETS, key, now) {
        bucket
    } else {
        let Some(bucket) = coarse(key, now) else {
            count(counters, 1);
            return false;
        };
        bucket
    };
    // SAFETY: `bucket` points to a map value, which stays readable and writable until this program ends even if the
    // daemon deletes the element meanwhile; the window's fields are advisory and racy, the sums are atomic adds.
    unsafe {
        if now.wrapping_sub((*bucket).window_start_ns) >= global!(KNOBS.window_ns) {
            (*bucket).window_start_ns = now;
            (*bucket).used = 0;
        }
        if (*bucket).used < global!(KNOBS.burst[F]) {
            (*bucket).used += 1;
            return true;
        }
        atomic::add(&raw mut (*bucket).coalesced, 1);
        atomic::add(&raw mut (*bucket).coalesced_bytes, u64::from(length));
        (*bucket).last_ns = now;
    }
    count(counters, 0);
    false
}

/// Counts a packet that got no record of its own. Atomic: a process that gives up a connection can be interrupted by a
/// packet.
#[inline(always)]
fn count(counters: &mut FamilyCounters, unkeyed: u64) {
    // SAFETY: fields of a map value of ours.
    unsafe {
        atomic::add(&raw mut counters.coalesced, 1);
        atomic::add(&raw mut counters.coalesced_unkeyed, unkeyed);
    }
}

/// A key without anything.
pub const EMPTY: BucketKey = BucketKey {
    source: [0; 16],
    destination: [0; 16],
    netns: 0,
    ifindex: 0,
    reason: 0,
    destination_port: [0; 2],
    protocol: 0,
    kind: 0,
    ip_version: 0,
    response: 0,
    padding: 0,
};

/// The bucket for packets to one destination from whomever (a scan of ports, spoofed sources), or, where that table has no
/// room either, of one kind and reason: `key` becomes that bucket's.
#[inline(always)]
fn coarse(key: &mut BucketKey, now: u64) -> Option<*mut Bucket> {
    key.source = [0; 16];
    key.destination_port = [0; 2];
    if let Some(bucket) = bucket_of(&BUCKETS_COARSE, key, now) {
        return Some(bucket);
    }
    *key = BucketKey { kind: key.kind, reason: key.reason, ..EMPTY };
    bucket_of(&BUCKETS_COARSE, key, now)
}

#[inline(always)]
fn bucket_of(map: &HashMap<BucketKey, Bucket>, key: &BucketKey, now: u64) -> Option<*mut Bucket> {
    if let Some(bucket) = map.get_ptr_mut(key) {
        return Some(bucket);
    }
    let new = Bucket { window_start_ns: now, used: 0, coalesced: 0, coalesced_bytes: 0, last_ns: now };
    // Another CPU may have put it there in between: then the look-up finds that one.
    let _ = map.insert(key, new, u64::from(BPF_NOEXIST));
    map.get_ptr_mut(key)
}
