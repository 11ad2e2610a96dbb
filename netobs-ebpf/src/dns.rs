//! DNS over UDP: a record of each question and answer, once per address pair it has on its way.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use netobs_common::ABI_VERSION;
use netobs_common::counters::family::DNS;
use netobs_common::record::{BucketKey, DNS_CLASSES, DnsRecord, Header, direction, kind};
use netobs_common::trail::{CpuState, hook};

use crate::globals::global;
use crate::headers::{self, Packet, Source, UDP};
use crate::tcx::{Place, Seen};
use crate::{bucket, emit, load, maps, trail};

/// Bytes of a DNS header (RFC 1035 section 4.1.1).
const DNS_HEADER: usize = 12;
/// Bytes of a record before the message.
const BASE: usize = size_of::<DnsRecord>();
/// Bytes for the message in a record of each class.
const SMALL: usize = DNS_CLASSES[0] - BASE;
const MIDDLE: usize = DNS_CLASSES[1] - BASE;
const LARGE: usize = DNS_CLASSES[2] - BASE;
/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// Records the DNS message in `packet`. `ports` are its UDP ports, source first, network byte order.
#[inline(never)]
pub fn observe(state: &mut CpuState, seen: &Seen<impl Source>, ports: u32) {
    let Seen { source, packet, digest, ifindex, place, .. } = seen;
    let (digest, ifindex, place) = (*digest, *ifindex, *place);
    let ctx = &TcContext::new(seen.skb);
    let Some(addresses) = headers::addresses(source, packet.version, place.offset) else {
        state.counters.families[DNS].seen += 1;
        state.counters.families[DNS].unparsed += 1;
        return;
    };
    let address = ctx.skb.skb as u64;
    let recorded = headers::tuple_digest(&addresses, ports);
    {
        let trail = trail::of(state, address);
        if trail.recorded == recorded {
            state.counters.families[DNS].repeated += 1;
            return;
        }
        trail.recorded = recorded;
    }
    state.counters.families[DNS].seen += 1;
    let Some([length]) = source.words(packet.transport + 4) else {
        state.counters.families[DNS].unparsed += 1;
        return;
    };
    let message = packet.transport + UDP_HEADER;
    let message_length = ((u32::from_be(length) >> 16) as usize).wrapping_sub(UDP_HEADER);
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
        let response = source.byte(message + 2).unwrap_or(0) >> 7;
        let mut key = BucketKey {
            netns: global!(KNOBS.own_netns),
            ifindex,
            protocol: UDP,
            kind: kind::DNS,
            ip_version: packet.version,
            response,
            ..bucket::EMPTY
        };
        // SAFETY: the key begins with both addresses, 4-aligned.
        unsafe { (&raw mut key).cast::<[u32; 8]>().write(addresses) };
        if !bucket::admit::<DNS>(state, &mut key, ctx.len(), now) {
            return;
        }
    }
    let record = Record { ctx, packet, digest, addresses, ports, ifindex, now, message, message_length, length, place };
    let submitted = if length <= SMALL {
        record.submit::<{ DNS_CLASSES[0] }>()
    } else if length <= MIDDLE {
        record.submit::<{ DNS_CLASSES[1] }>()
    } else {
        record.submit::<{ DNS_CLASSES[2] }>()
    };
    debug!(
        ctx,
        "dns: {} bytes from port {} to port {} on ifindex {}",
        message_length,
        u32::from_be(ports) >> 16,
        u32::from_be(ports) & 0xffff,
        ifindex
    );
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

/// What goes into a record.
struct Record<'a> {
    ctx: &'a TcContext,
    packet: &'a Packet,
    digest: u32,
    addresses: [u32; 8],
    ports: u32,
    ifindex: u32,
    now: u64,
    message: usize,
    message_length: usize,
    length: usize,
    place: Place,
}

impl Record<'_> {
    /// Puts the record and as much of the message as fits into `SIZE` bytes into the ring.
    #[inline(always)]
    fn submit<const SIZE: usize>(&self) -> Submitted {
        let captured = match SIZE - BASE {
            SMALL => load::at_most::<SMALL>(self.length as u32),
            MIDDLE => load::at_most::<MIDDLE>(self.length as u32),
            _ => load::at_most::<LARGE>(self.length as u32),
        };
        let Some(mut entry) = maps::RING_DNS.reserve::<Slot<SIZE>>(0) else {
            return Submitted::Full;
        };
        let start = entry.as_mut_ptr().cast::<u8>();
        let record = start.cast::<DnsRecord>();
        let skb = self.ctx.skb.skb;
        // SAFETY: the entry has SIZE bytes, 8-aligned; every byte of the record is written, and captured is at most what
        // is left behind it. The helpers get the program's own context. Addresses lie next to each other and are followed
        // by the ports, 4-aligned (asserted in netobs-common).
        let failed = unsafe {
            (&raw mut (*record).header).write(Header {
                abi: ABI_VERSION,
                kind: kind::DNS,
                flags: 0,
                length: SIZE as u32,
                boot_ns: self.now,
                packet: skb as u64,
                cgroup: bpf_skb_cgroup_id(skb),
                netns: global!(KNOBS.own_netns),
                ifindex: self.ifindex,
                digest: self.digest,
                cpu: bpf_get_smp_processor_id() as u32,
            });
            (&raw mut (*record).source).cast::<[u32; 8]>().write(self.addresses);
            (&raw mut (*record).source_port).cast::<u32>().write(self.ports);
            (&raw mut (*record).message_length).write(self.message_length as u16);
            (&raw mut (*record).captured).write(captured as u16);
            (&raw mut (*record).ip_version).write(self.packet.version);
            let ingress = self.place.hook == hook::TCX_INGRESS;
            (&raw mut (*record).direction).write(if ingress { direction::INGRESS } else { direction::EGRESS });
            (&raw mut (*record).padding).write(0);
            (&raw mut (*record).reserved).write(0);
            bpf_skb_load_bytes(skb.cast(), self.message as u32, start.add(BASE).cast(), captured)
        };
        if failed != 0 {
            entry.discard(u64::from(BPF_RB_NO_WAKEUP));
            return Submitted::Unreadable;
        }
        entry.submit(emit::wake_flags());
        Submitted::Yes
    }
}
