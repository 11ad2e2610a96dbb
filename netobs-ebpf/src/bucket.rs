//! Budgets: the first packets of a burst go out whole, the rest are counted exactly.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::HashMap;
use netobs_common::counters::{FamilyCounters, family};
use netobs_common::record::{Bucket, BucketKey, left_out};
use netobs_common::trail::CpuState;

use crate::atomic;
use crate::globals::global;
use crate::maps::{BUCKETS, BUCKETS_COARSE, BUCKETS_LAST, BUCKETS_RESET, BUCKETS_RESET_COARSE};

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

/// Whether the packet may have a record of its own; if not, it has been counted, in its key's bucket or, when the table
/// has no room for that key, in a coarser one (then `key` is that one's), or, failing that too, only in the ledger.
#[inline(always)]
pub fn admit<const F: usize>(state: &mut CpuState, key: &mut BucketKey, length: u32, now: u64) -> bool {
    let counters = &mut state.counters.families[F];
    let Some(bucket) = bucket::<F>(key, now) else {
        count(counters, 1);
        return false;
    };
    // SAFETY: `bucket` points to a map value, which stays readable and writable until this program ends even if the
    // daemon deletes the element meanwhile; the window's fields are advisory and racy.
    unsafe {
        if now.wrapping_sub((*bucket).window_start_ns) >= global!(KNOBS.window_ns) {
            (*bucket).window_start_ns = now;
            (*bucket).used = 0;
        }
        if (*bucket).used < global!(KNOBS.burst[F]) {
            (*bucket).used += 1;
            return true;
        }
    }
    add(bucket, length, now);
    count(counters, 0);
    false
}

/// Counts a packet that was admitted, but whose record found no room in its ring: in the bucket that admitted it, so that
/// it is in the sums all the same.
#[inline(always)]
pub fn count_instead<const F: usize>(state: &mut CpuState, key: &mut BucketKey, length: u32, now: u64) {
    let counters = &mut state.counters.families[F];
    if let Some(bucket) = bucket::<F>(key, now) {
        add(bucket, length, now);
        count(counters, 0);
    } else {
        count(counters, 1);
    }
}

#[inline(always)]
fn add(bucket: *mut Bucket, length: u32, now: u64) {
    // SAFETY: `bucket` points to a map value, see `admit`; the sums are atomic adds.
    unsafe {
        atomic::add(&raw mut (*bucket).coalesced, 1);
        atomic::add(&raw mut (*bucket).coalesced_bytes, u64::from(length));
        (*bucket).last_ns = now;
    }
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
    left_out: 0,
    segment: 0,
    location: 0,
};

/// The bucket of a key. Where the table has no room for it, the one for packets of one sender to whomever (resets: a
/// flood has one source and many destinations) or to one destination from whomever (others: a scan of ports, spoofed
/// sources); where that table has no room either, the one for all of one kind, reason and location, of which there are so
/// few that they always find room. `key` becomes that bucket's. Resets have tables of their own: a flood of them leaves the other
/// families theirs.
#[inline(always)]
fn bucket<const F: usize>(key: &mut BucketKey, now: u64) -> Option<*mut Bucket> {
    let (fine, coarse) =
        if of_resets(F) { (&BUCKETS_RESET, &BUCKETS_RESET_COARSE) } else { (&BUCKETS, &BUCKETS_COARSE) };
    if key.left_out == 0 {
        if let Some(bucket) = bucket_of(fine, key, now) {
            return Some(bucket);
        }
        if of_resets(F) {
            key.destination = [0; 16];
            key.left_out = left_out::DESTINATION | left_out::PORT;
        } else {
            key.source = [0; 16];
            key.left_out = left_out::SOURCE | left_out::PORT;
        }
        key.destination_port = [0; 2];
    }
    if key.left_out & (left_out::SOURCE | left_out::DESTINATION) != left_out::SOURCE | left_out::DESTINATION {
        if let Some(bucket) = bucket_of(coarse, key, now) {
            return Some(bucket);
        }
        // What is not named stays. Field by field: a second key finds no room on the stack.
        key.source = [0; 16];
        key.destination = [0; 16];
        key.netns = 0;
        key.ifindex = 0;
        key.destination_port = [0; 2];
        key.protocol = 0;
        key.ip_version = 0;
        key.left_out = left_out::SOURCE | left_out::DESTINATION | left_out::PORT;
    }
    bucket_of(&BUCKETS_LAST, key, now)
}

const fn of_resets(family: usize) -> bool {
    matches!(family, family::RESET | family::SOCKET)
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
