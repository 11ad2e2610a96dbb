//! Who opened a connection, remembered from its SYN.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use netobs_common::connection::{ConnectionKey, Opening};
use netobs_common::record::opener;
use netobs_common::trail::CpuState;

use crate::globals::global;
use crate::headers::{self, Source};
use crate::maps::CONNECTIONS;
use crate::tcx::Seen;
use crate::trail;

/// Remembers the opener of a connection from its SYN, once for each form that translation gives its addresses.
#[inline(never)]
pub fn note(state: &mut CpuState, seen: &Seen<impl Source>, ports: u32) {
    let Some(addresses) = headers::addresses(&seen.source, seen.packet.version, seen.place.offset) else { return };
    let recorded = headers::tuple_digest(&addresses, ports);
    let trail = trail::of(state, seen.skb as u64);
    if trail.recorded == recorded {
        return;
    }
    trail.recorded = recorded;
    insert(&addresses, ports, seen.packet.version, global!(KNOBS.own_netns));
}

/// Remembers that the first of `addresses` opened a connection to the second, from the first of `ports` to the second.
#[inline(always)]
pub fn insert(addresses: &[u32; 8], ports: u32, version: u8, netns: u32) {
    let key = ConnectionKey { addresses: *addresses, ports, netns: scope(addresses, version, netns) };
    // SAFETY: no preconditions.
    let now = Opening { boot_ns: unsafe { bpf_ktime_get_boot_ns() } };
    // Fails only where the kernel has no memory for it: then the opener is not known.
    let _ = CONNECTIONS.insert(key, now, 0);
}

/// Who opened the connection of a reset with these addresses and ports, and when (0: not known).
#[inline(always)]
pub fn opener(addresses: &[u32; 8], ports: u32, version: u8, netns: u32) -> (u8, u64) {
    // One key, turned round in place: before Linux 6.13 a program and all that it calls share 512 bytes of stack.
    let mut key = ConnectionKey { addresses: *addresses, ports, netns: scope(addresses, version, netns) };
    let by_source = look_up(&key);
    let mut index = 0;
    while index < 4 {
        key.addresses.swap(index, index + 4);
        index += 1;
    }
    key.ports = ports.rotate_left(16);
    let by_destination = look_up(&key);
    // Both where the same ports were used both ways, one after the other: the later one is meant.
    if by_source == 0 && by_destination == 0 {
        (opener::UNKNOWN, 0)
    } else if by_source > by_destination {
        (opener::SOURCE, by_source)
    } else {
        (opener::DESTINATION, by_destination)
    }
}

#[inline(always)]
fn look_up(key: &ConnectionKey) -> u64 {
    // SAFETY: a map value stays readable until this program ends; it may be replaced meanwhile, which gives one time or the
    // other.
    CONNECTIONS.get_ptr(key).map_or(0, |opening| unsafe { (*opening).boot_ns })
}

/// The namespace as part of a key, see [`ConnectionKey::netns`].
#[inline(always)]
fn scope(addresses: &[u32; 8], version: u8, netns: u32) -> u32 {
    let (one, other) = headers::halves(addresses);
    if headers::is_everywhere(&one, version) || headers::is_everywhere(&other, version) { netns } else { 0 }
}
