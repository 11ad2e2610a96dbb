//! DNS over UDP: a record of each question and answer, once per address pair it has on its way.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use netobs_common::ABI_VERSION;
use netobs_common::counters::family::DNS;
use netobs_common::record::{BucketKey, DNS_CLASSES, DnsRecord, Header, direction, kind};
use netobs_common::trail::{CpuState, hook};

use crate::globals::global;
use crate::headers::{self, Packet, Source, UDP};
use crate::{bucket, emit, maps, trail};

/// Bytes of a DNS header (RFC 1035 section 4.1.1).
const DNS_HEADER: usize = 12;
/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// Records the DNS message in `packet`. `ports` are its UDP ports in network byte order.
#[allow(clippy::too_many_arguments)] // one call, inlined
#[inline(always)]
pub fn observe(
    ctx: &TcContext,
    state: &mut CpuState,
    source: &impl Source,
    packet: &Packet,
    ports: [u16; 2],
    ifindex: u32,
    offset: usize,
    hook: u8,
) {
    let Some((from, to)) = headers::addresses(source, packet.version, offset) else {
        state.counters.families[DNS].seen += 1;
        state.counters.families[DNS].unparsed += 1;
        return;
    };
    let address = ctx.skb.skb as u64;
    let recorded = tuple_digest(&from, &to, ports);
    {
        let trail = trail::of(state, address);
        if trail.recorded == recorded {
            state.counters.families[DNS].repeated += 1;
            return;
        }
        trail.recorded = recorded;
    }
    state.counters.families[DNS].seen += 1;
    let Some(length) = source.load::<u16>(packet.transport + 4) else {
        state.counters.families[DNS].unparsed += 1;
        return;
    };
    let message = packet.transport + UDP_HEADER;
    let message_length = (u16::from_be(length) as usize).wrapping_sub(UDP_HEADER);
    let available = (ctx.len() as usize).wrapping_sub(message);
    let length = if message_length < available { message_length } else { available };
    if !(DNS_HEADER..=usize::from(u16::MAX)).contains(&message_length)
        || !(DNS_HEADER..=usize::from(u16::MAX)).contains(&length)
    {
        state.counters.families[DNS].unparsed += 1;
        return;
    }
    // SAFETY: helpers without preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if !bucket::calm::<DNS>(state, now) {
        // QR is the top bit of the third byte.
        let response = source.load::<u8>(message + 2).unwrap_or(0) >> 7;
        let mut key = BucketKey {
            source: from,
            destination: to,
            netns: global!(KNOBS.own_netns),
            ifindex,
            reason: 0,
            destination_port: [0; 2],
            protocol: UDP,
            kind: kind::DNS,
            ip_version: packet.version,
            response,
            padding: [0; 2],
        };
        if !bucket::admit::<DNS>(state, &mut key, ctx.len(), now) {
            return;
        }
    }
    let record = DnsRecord {
        header: Header {
            abi: ABI_VERSION,
            kind: kind::DNS,
            flags: 0,
            length: 0,
            boot_ns: now,
            packet: address,
            // SAFETY: the context is the program's own.
            cgroup: unsafe { bpf_skb_cgroup_id(ctx.skb.skb) },
            netns: global!(KNOBS.own_netns),
            ifindex,
            digest: packet.digest,
            // SAFETY: no preconditions.
            cpu: unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() } as u32,
        },
        source: from,
        destination: to,
        source_port: ports[0].to_ne_bytes(),
        destination_port: ports[1].to_ne_bytes(),
        message_length: message_length as u16,
        captured: 0,
        ip_version: packet.version,
        direction: if hook == hook::TCX_INGRESS { direction::INGRESS } else { direction::EGRESS },
        padding: [0; 6],
    };
    const BASE: usize = size_of::<DnsRecord>();
    let submitted = if length <= DNS_CLASSES[0] - BASE {
        submit::<{ DNS_CLASSES[0] }>(ctx, record, message, length)
    } else if length <= DNS_CLASSES[1] - BASE {
        submit::<{ DNS_CLASSES[1] }>(ctx, record, message, length)
    } else {
        submit::<{ DNS_CLASSES[2] }>(ctx, record, message, length)
    };
    let counters = &mut state.counters.families[DNS];
    match submitted {
        Submitted::Yes => counters.submitted += 1,
        Submitted::Full => counters.ring_full += 1,
        Submitted::Unreadable => counters.unparsed += 1,
    }
}

/// Ring memory of `SIZE` bytes.
#[repr(C, align(8))]
struct Slot<const SIZE: usize>([u8; SIZE]);

enum Submitted {
    Yes,
    Full,
    Unreadable,
}

/// Puts the record and as much of the message as fits into `SIZE` bytes into the ring.
#[inline(always)]
fn submit<const SIZE: usize>(ctx: &TcContext, mut record: DnsRecord, message: usize, length: usize) -> Submitted {
    let room = SIZE - size_of::<DnsRecord>();
    // The mask and the minimum tell the verifier the bounds; length is at least DNS_HEADER.
    let mut captured = (length & 0xffff) as u32;
    if captured > room as u32 {
        captured = room as u32;
    }
    if captured == 0 {
        return Submitted::Unreadable;
    }
    let Some(mut entry) = maps::RING_DNS.reserve::<Slot<SIZE>>(0) else {
        return Submitted::Full;
    };
    record.header.length = SIZE as u32;
    record.captured = captured as u16;
    let start = entry.as_mut_ptr().cast::<u8>();
    // SAFETY: the entry has SIZE bytes, 8-aligned; captured is at most what is left behind the record.
    let failed = unsafe {
        start.cast::<DnsRecord>().write(record);
        bpf_skb_load_bytes(ctx.skb.skb.cast(), message as u32, start.add(size_of::<DnsRecord>()).cast(), captured)
    };
    if failed != 0 {
        entry.discard(u64::from(aya_ebpf::bindings::BPF_RB_NO_WAKEUP));
        return Submitted::Unreadable;
    }
    entry.submit(emit::wake_flags());
    Submitted::Yes
}

/// Digest of addresses and ports; never 0.
#[inline(always)]
fn tuple_digest(from: &[u8; 16], to: &[u8; 16], ports: [u16; 2]) -> u32 {
    let mut digest = (ports[0] as u32) << 16 | ports[1] as u32;
    let mut index = 0;
    while index < 16 {
        let a = u32::from_ne_bytes([from[index], from[index + 1], from[index + 2], from[index + 3]]);
        let b = u32::from_ne_bytes([to[index], to[index + 1], to[index + 2], to[index + 3]]);
        digest = digest.rotate_left(5) ^ a ^ b.rotate_left(16);
        index += 4;
    }
    digest | 1
}
