//! TCP resets on their way: each once, and once more where translation changes its addresses.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_skb_cgroup_id};
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use netobs_common::ABI_VERSION;
use netobs_common::counters::family::RESET;
use netobs_common::record::{BucketKey, Header, ResetRecord, direction, flags, kind};
use netobs_common::trail::{CpuState, hook, told};

use crate::globals::global;
use crate::headers::{self, Source, TCP};
use crate::maps::RING_RESET;
use crate::tcx::Seen;
use crate::trail::{self, Sight};
use crate::{bucket, connection, emit};

/// TCP flags (RFC 9293 section 3.1).
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// Looks at a segment with RST. `words` are the first four of its TCP header.
#[inline(never)]
pub fn observe(state: &mut CpuState, seen: &Seen<impl Source>, words: &[u32; 4]) {
    let Seen { skb, packet, place, .. } = seen;
    let ctx = TcContext::new(*skb);
    let Some(addresses) = headers::addresses(&seen.source, packet.version, place.offset) else {
        state.counters.families[RESET].seen += 1;
        state.counters.families[RESET].unparsed += 1;
        return;
    };
    let skb = *skb;
    // SAFETY: a field of the context.
    let came_in = unsafe { (*skb).ingress_ifindex };
    let recorded = headers::tuple_digest(&addresses, words[0]);
    let sight = trail::sight(trail::of(state, skb as u64), recorded, *place, came_in != 0);
    if sight == Sight::Repeated {
        state.counters.families[RESET].repeated += 1;
        return;
    }
    state.counters.families[RESET].seen += 1;
    let tcp_flags = (u32::from_be(words[3]) >> 16) as u8;
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if sight == Sight::First {
        trail::of(state, skb as u64).told = told::COUNTED;
        let mut key = BucketKey {
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            protocol: TCP,
            kind: kind::RESET,
            ip_version: packet.version,
            response: u8::from(answers_syn(tcp_flags, words[1])),
            ..bucket::EMPTY
        };
        // SAFETY: the key begins with both addresses, 4-aligned.
        unsafe { (&raw mut key).cast::<[u32; 8]>().write(addresses) };
        if !bucket::admit::<RESET>(state, &mut key, ctx.len(), now) {
            return;
        }
    }
    let Some(mut entry) = RING_RESET.reserve::<ResetRecord>(0) else {
        state.counters.families[RESET].ring_full += 1;
        return;
    };
    let (opener, opened_ns) = connection::opener(&addresses, words[0], packet.version, global!(KNOBS.own_netns));
    let record = entry.as_mut_ptr();
    let ingress = place.hook == hook::TCX_INGRESS;
    let direction = if ingress { direction::INGRESS } else { direction::EGRESS };
    let limit = headers::hop_limit(&seen.source, packet.version, place.offset);
    // SAFETY: ring memory of the record's size and alignment; every byte of it is written: addresses, ports and the two
    // groups of four single bytes as words (their order is asserted in netobs-common; the machine is little-endian).
    unsafe {
        (&raw mut (*record).header).write(Header {
            abi: ABI_VERSION,
            kind: kind::RESET,
            flags: if sight == Sight::Translated { flags::TRANSLATED } else { 0 },
            length: size_of::<ResetRecord>() as u32,
            boot_ns: now,
            packet: skb as u64,
            cgroup: bpf_skb_cgroup_id(skb),
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            digest: seen.digest,
            cpu: bpf_get_smp_processor_id() as u32,
        });
        (&raw mut (*record).source).cast::<[u32; 8]>().write(addresses);
        (&raw mut (*record).source_port).cast::<u32>().write(words[0]);
        (&raw mut (*record).sequence).write(u32::from_be(words[1]));
        (&raw mut (*record).acknowledgment).write(u32::from_be(words[2]));
        (&raw mut (*record).arrival_ifindex).write(if ingress && place.arrival { seen.ifindex } else { came_in });
        (&raw mut (*record).tcp_flags).cast::<u32>().write(emit::bytes(tcp_flags, packet.version, direction, opener));
        (&raw mut (*record).hop_limit).cast::<u32>().write(emit::bytes(limit, 0, 0, 0));
        (&raw mut (*record).opened_ns).write(opened_ns);
    }
    entry.submit(emit::wake_flags());
    debug!(&ctx, "reset: flags {} on ifindex {}", tcp_flags, seen.ifindex);
    state.counters.families[RESET].submitted += 1;
    trail::of(state, skb as u64).told = told::WHOLE;
}

/// Whether a reset answers a SYN: it acknowledges and has sequence number 0 (RFC 9293 section 3.5.2, group 1).
#[inline(always)]
pub fn answers_syn(flags: u8, sequence: u32) -> bool {
    flags & ACK != 0 && sequence == 0
}
