//! ICMP errors about packets' sizes: each once, and once more where translation changes its addresses.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use netobs_common::counters::family::MTU;
use netobs_common::record::{IcmpRecord, QUOTED, kind};
use netobs_common::trail::CpuState;

use crate::headers::Source;
use crate::maps::RING_MTU;
use crate::sighted::{self, Sighted};
use crate::tcx::Seen;
use crate::{emit, load};

/// Bytes of an ICMP error before the packet that it quotes (RFC 792, RFC 4443 section 3).
const ICMP_HEADER: usize = 8;

/// Whether an ICMP message, by the first word of it, is about a packet's size: fragmentation needed (type 3, code 4) or
/// reassembly time exceeded (11, 1); for IPv6 packet too big (2) or reassembly time exceeded (3, 1).
#[inline(always)]
pub fn is_about_size(version: u8, first: u32) -> bool {
    let type_and_code = u32::from_be(first) >> 16;
    if version == 4 {
        type_and_code == 0x0304 || type_and_code == 0x0b01
    } else {
        type_and_code >> 8 == 2 || type_and_code == 0x0301
    }
}

/// Looks at such a message. `words` are the first two of it.
#[inline(never)]
pub fn observe(state: &mut CpuState, seen: &Seen<impl Source>, words: &[u32; 2]) {
    let Some(sighted) = sighted::sight::<MTU>(state, seen, words[0]) else { return };
    let type_and_code = u32::from_be(words[0]) >> 16;
    // SAFETY: a field of the context.
    let made_here = unsafe { (*seen.skb).ingress_ifindex } == 0;
    let mut key = sighted.key(seen, kind::MTU, type_and_code, made_here);
    if !sighted.admitted::<MTU>(state, seen, &mut key) {
        return;
    }
    let message = (seen.packet.transport + ICMP_HEADER) as u32;
    if seen.length() <= message {
        state.counters.families[MTU].unparsed += 1;
        return;
    }
    let length = load::at_most::<QUOTED>(seen.length() - message);
    let Some(mut entry) = RING_MTU.reserve::<IcmpRecord>(0) else {
        sighted.no_room::<MTU>(state, seen, &mut key);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: ring memory of the record's size and alignment; every byte before the quote is written, addresses and groups
    // of four single bytes as words (their order is asserted in netobs-common; the machine is little-endian). The helper
    // writes at most QUOTED bytes.
    let failed = unsafe {
        (&raw mut (*record).header).write(sighted.header(seen, kind::MTU, size_of::<IcmpRecord>()));
        (&raw mut (*record).source).cast::<[u32; 8]>().write(sighted.addresses);
        (&raw mut (*record).next_hop_mtu).write(next_hop_mtu(type_and_code, words[1]));
        (&raw mut (*record).arrival_ifindex).write(sighted.arrival_ifindex);
        let version = seen.packet.version;
        let what = emit::bytes((type_and_code >> 8) as u8, type_and_code as u8, version, sighted.direction);
        (&raw mut (*record).icmp_type).cast::<u32>().write(what);
        (&raw mut (*record).quoted_length).cast::<u32>().write(length);
        bpf_skb_load_bytes(seen.skb.cast(), message, (&raw mut (*record).quoted).cast(), length)
    };
    if failed != 0 {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
        state.counters.families[MTU].unparsed += 1;
        return;
    }
    entry.submit(emit::wake_flags());
    debug!(&TcContext::new(seen.skb), "icmp: type and code {} on ifindex {}", type_and_code, seen.ifindex);
    Sighted::told::<MTU>(state, seen);
}

/// The next hop's MTU from the second word: its low half for IPv4 (RFC 1191 section 4), all of it for IPv6.
#[inline(always)]
fn next_hop_mtu(type_and_code: u32, word: u32) -> u32 {
    match type_and_code {
        0x0304 => u32::from_be(word) & 0xffff,
        0x0200..=0x02ff => u32::from_be(word),
        _ => 0,
    }
}
