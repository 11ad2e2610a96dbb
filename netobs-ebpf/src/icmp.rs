//! ICMP errors about packets' sizes: each once, and once more where translation changes its addresses.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use netobs_common::ABI_VERSION;
use netobs_common::counters::family::MTU;
use netobs_common::record::{BucketKey, Header, IcmpRecord, QUOTED, direction, flags, kind};
use netobs_common::trail::{CpuState, hook, told};

use crate::globals::global;
use crate::headers::{self, Source};
use crate::maps::RING_MTU;
use crate::tcx::Seen;
use crate::trail::{self, Sight};
use crate::{bucket, emit};

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
    let Seen { skb, packet, place, .. } = seen;
    let ctx = TcContext::new(*skb);
    let Some(addresses) = headers::addresses(&seen.source, packet.version, place.offset) else {
        state.counters.families[MTU].seen += 1;
        state.counters.families[MTU].unparsed += 1;
        return;
    };
    let skb = *skb;
    // SAFETY: a field of the context.
    let came_in = unsafe { (*skb).ingress_ifindex };
    let recorded = headers::tuple_digest(&addresses, words[0]);
    let sight = trail::sight(trail::of(state, skb as u64), recorded, *place, came_in != 0);
    if sight == Sight::Repeated {
        state.counters.families[MTU].repeated += 1;
        return;
    }
    state.counters.families[MTU].seen += 1;
    let type_and_code = u32::from_be(words[0]) >> 16;
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if sight == Sight::First {
        trail::of(state, skb as u64).told = told::COUNTED;
        let mut key = BucketKey {
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            reason: type_and_code,
            protocol: packet.protocol,
            kind: kind::MTU,
            ip_version: packet.version,
            response: u8::from(came_in == 0),
            ..bucket::EMPTY
        };
        // SAFETY: the key begins with both addresses, 4-aligned.
        unsafe { (&raw mut key).cast::<[u32; 8]>().write(addresses) };
        if !bucket::admit::<MTU>(state, &mut key, ctx.len(), now) {
            return;
        }
    }
    let message = packet.transport + ICMP_HEADER;
    // The mask and the minimum tell the verifier the bounds.
    let mut length = (ctx.len() as usize).wrapping_sub(message) as u32 & 0xffff;
    if length > QUOTED as u32 {
        length = QUOTED as u32;
    }
    if length == 0 || (ctx.len() as usize) < message {
        state.counters.families[MTU].unparsed += 1;
        return;
    }
    let Some(mut entry) = RING_MTU.reserve::<IcmpRecord>(0) else {
        state.counters.families[MTU].ring_full += 1;
        return;
    };
    let record = entry.as_mut_ptr();
    let ingress = place.hook == hook::TCX_INGRESS;
    let direction = if ingress { direction::INGRESS } else { direction::EGRESS };
    // SAFETY: ring memory of the record's size and alignment; every byte before the quote is written, addresses and groups
    // of four single bytes as words (their order is asserted in netobs-common; the machine is little-endian). The helper
    // writes at most QUOTED bytes.
    let failed = unsafe {
        (&raw mut (*record).header).write(Header {
            abi: ABI_VERSION,
            kind: kind::MTU,
            flags: if sight == Sight::Translated { flags::TRANSLATED } else { 0 },
            length: size_of::<IcmpRecord>() as u32,
            boot_ns: now,
            packet: skb as u64,
            cgroup: bpf_skb_cgroup_id(skb),
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            digest: seen.digest,
            cpu: bpf_get_smp_processor_id() as u32,
        });
        (&raw mut (*record).source).cast::<[u32; 8]>().write(addresses);
        (&raw mut (*record).next_hop_mtu).write(next_hop_mtu(type_and_code, words[1]));
        (&raw mut (*record).arrival_ifindex).write(if ingress && place.arrival { seen.ifindex } else { came_in });
        let what = emit::bytes((type_and_code >> 8) as u8, type_and_code as u8, packet.version, direction);
        (&raw mut (*record).icmp_type).cast::<u32>().write(what);
        (&raw mut (*record).quoted_length).cast::<u32>().write(length);
        bpf_skb_load_bytes(skb.cast(), message as u32, (&raw mut (*record).quoted).cast(), length)
    };
    if failed != 0 {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
        state.counters.families[MTU].unparsed += 1;
        return;
    }
    entry.submit(emit::wake_flags());
    debug!(&ctx, "icmp: type and code {} on ifindex {}", type_and_code, seen.ifindex);
    state.counters.families[MTU].submitted += 1;
    trail::of(state, skb as u64).told = told::WHOLE;
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
