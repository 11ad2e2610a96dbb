//! Drops: `skb:kfree_skb` with everything that explains it.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_probe_read_kernel};
use aya_log_ebpf::debug;
use netobs_common::ABI_VERSION;
use netobs_common::counters::family::DROP;
use netobs_common::counters::hook;
use netobs_common::knobs::NO_REASON;
use netobs_common::offsets::ABSENT;
use netobs_common::record::{BucketKey, DROP_HEADERS, DropRecord, Header, Tuple, flags, kind};
use netobs_common::tcp::segment;
use netobs_common::trail::{CpuState, Point, TRAIL_POINTS};

use crate::arguments::Arguments;
use crate::globals::global;
use crate::headers::{IPV4, IPV6};
use crate::kernel::{
    Device, Memory, Socket, describe, device, kernel_digest, load, network_header, read, read_pointer, socket,
};
use crate::load::opaque;
use crate::maps::{self, RING_DROP};
use crate::{bucket, emit, scope, trail};

/// Looks at one freed packet. Arguments of the tracepoint (include/trace/events/skb.h): skb, location, reason (since 5.17).
#[inline(always)]
pub fn observe<C: Arguments>(ctx: &C) {
    let Some(state) = maps::cpu_state() else { return };
    state.counters.hooks[hook::KFREE_SKB].runs += 1;
    let skb: usize = ctx.argument(0);
    let ethertype: u16 = load::<C::Memory, _>(skb, global!(OFFSETS.skb_protocol));
    if ethertype != IPV4 && ethertype != IPV6 {
        state.counters.hooks[hook::KFREE_SKB].not_network += 1;
        return;
    }
    let device = device::<C::Memory>(skb);
    // The socket is looked at only where it is needed: in a storm most drops are counted, and its memory is cold.
    let netns = match &device {
        Some(device) => device.netns,
        None => owner(ctx, skb).netns,
    };
    let reason = if global!(KNOBS.drop_reason) == 0 { NO_REASON } else { ctx.argument(2) };
    if !(scope::contains(netns) || netns == 0 && is_fragments(reason)) {
        state.counters.hooks[hook::KFREE_SKB].out_of_scope += 1;
        return;
    }
    state.counters.families[DROP].seen += 1;
    let length: u32 = load::<C::Memory, _>(skb, global!(OFFSETS.skb_len));
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut key = key::<C::Memory>(skb, ethertype);
    key.reason = reason;
    key.location = ctx.argument(1);
    key.netns = netns;
    key.ifindex = device.as_ref().map_or(0, |device| device.ifindex);
    if !bucket::admit::<DROP>(state, &mut key, length, now) {
        return;
    }
    let socket = owner(ctx, skb);
    debug!(ctx, "drop: reason {} length {} netns {} ifindex {}", reason, length, netns, key.ifindex);
    let Some(mut entry) = RING_DROP.reserve::<DropRecord>(0) else {
        bucket::count_instead::<DROP>(state, &mut key, length, now);
        return;
    };
    let digest = kernel_digest::<C::Memory>(skb);
    let record = entry.as_mut_ptr();
    let mut bits = 0;
    // SAFETY: `record` is ring memory of the record's size and alignment; every byte of it is written below.
    unsafe {
        (&raw mut (*record).location).write(ctx.argument(1));
        (&raw mut (*record).reason).write(reason);
        (&raw mut (*record).length).write(length);
        (&raw mut (*record).gso_size).write(gso_size::<C::Memory>(skb));
        (&raw mut (*record).ethertype).write(u16::from_be(ethertype));
        (&raw mut (*record).socket_family).write(socket.family);
        let headers_length = copy_headers::<C::Memory>(skb, (&raw mut (*record).headers).cast());
        (&raw mut (*record).headers_length).write(headers_length as u8);
        (&raw mut (*record).padding).write(0);
        write_device::<C::Memory>(record, device.as_ref());
        write_route::<C::Memory>(record, skb, netns);
        if write_conntrack::<C::Memory>(record, skb) {
            bits |= flags::CONNTRACK;
        }
        write_points(record, state, skb, digest);
        (&raw mut (*record).header).write(Header {
            abi: ABI_VERSION,
            kind: kind::DROP,
            flags: bits,
            length: size_of::<DropRecord>() as u32,
            boot_ns: now,
            packet: skb as u64,
            cgroup: socket.cgroup,
            netns,
            ifindex: device.as_ref().map_or(0, |device| device.ifindex),
            digest,
            cpu: aya_ebpf::helpers::bpf_get_smp_processor_id() as u32,
        });
    }
    entry.submit(emit::wake_flags());
    state.counters.families[DROP].submitted += 1;
}

/// Whether a reason is one of fragments that could not be put together: they waited in a queue and have no interface any
/// more, so their namespace is not known.
#[inline(always)]
fn is_fragments(reason: u32) -> bool {
    // Unused entries are no reason, either.
    reason != NO_REASON
        && (reason == global!(KNOBS.fragment_reasons[0])
            || reason == global!(KNOBS.fragment_reasons[1])
            || reason == global!(KNOBS.fragment_reasons[2])
            || reason == global!(KNOBS.fragment_reasons[3]))
}

/// The first bytes of a packet, in words as on the wire.
type Headers = [u32; DROP_HEADERS / 4];

/// Copies what there is of the network header and what follows, right into the record: on the stack there is no room. Returns
/// how many bytes.
#[inline(always)]
unsafe fn copy_headers<M: Memory>(skb: usize, headers: *mut Headers) -> usize {
    // SAFETY: the caller's record is writable memory.
    unsafe { headers.write([0; DROP_HEADERS / 4]) };
    let Some((address, available)) = network_header::<M>(skb) else { return 0 };
    let length = if available < DROP_HEADERS as u32 { available } else { DROP_HEADERS as u32 };
    if length == 0 {
        return 0;
    }
    // SAFETY: the helper checks the address; length is between 1 and the field's size.
    let failed = unsafe { bpf_probe_read_kernel(headers.cast(), length, address as *const _) };
    if failed == 0 { length as usize } else { 0 }
}

/// The socket that owns the packet, else the one that was to receive it (the tracepoint's fourth argument): TCP takes
/// device and owner off a packet before it drops it.
#[inline(always)]
fn owner<C: Arguments>(ctx: &C, skb: usize) -> Socket {
    let socket = socket::<C::Memory>(skb);
    if global!(KNOBS.rx_socket) != 0 && socket.family == 0 {
        let receiver: usize = ctx.argument(3);
        if receiver != 0 {
            return describe::<C::Memory>(opaque(receiver));
        }
    }
    socket
}

/// Words of an IPv6 header and, behind it, of a TCP header as far as its flags.
const KEY_WORDS: usize = 14;

/// What makes this drop one of a burst. Ports only where they directly follow a header without options.
#[inline(always)]
fn key<M: Memory>(skb: usize, ethertype: u16) -> BucketKey {
    let mut key = BucketKey { kind: kind::DROP, ..bucket::EMPTY };
    let mut addresses = [0; 8];
    let mut ports = 0;
    let header = network_header::<M>(skb);
    let length = header.map_or(0, |(_, available)| available as usize);
    // Reads past the end of a short packet stay within its buffer, and what they give is not looked at.
    let words = header.and_then(|(address, _)| read::<[u32; KEY_WORDS]>(address)).unwrap_or([0; KEY_WORDS]);
    let version = u32::from_be(words[0]) >> 28;
    if ethertype == IPV4 && version == 4 && length >= 20 {
        key.ip_version = 4;
        key.protocol = (u32::from_be(words[2]) >> 16) as u8;
        addresses[0] = words[3];
        addresses[4] = words[4];
        let fragment = u32::from_be(words[1]) & 0x1fff;
        if u32::from_be(words[0]) >> 24 == 0x45 && fragment == 0 && length >= 24 && has_ports(key.protocol) {
            ports = words[5];
            key.segment = class(key.protocol, words[8], length >= 36);
        }
    } else if ethertype == IPV6 && version == 6 && length >= 40 {
        key.ip_version = 6;
        key.protocol = (u32::from_be(words[1]) >> 8) as u8;
        let mut index = 0;
        while index < 8 {
            addresses[index] = words[2 + index];
            index += 1;
        }
        if length >= 44 && has_ports(key.protocol) {
            ports = words[10];
            key.segment = class(key.protocol, words[13], length >= 56);
        }
    }
    key.destination_port = (u32::from_be(ports) as u16).to_be_bytes();
    // SAFETY: the key begins with both addresses, 4-aligned.
    unsafe { (&raw mut key).cast::<[u32; 8]>().write(addresses) };
    key
}

/// TCP.
const TCP: u8 = 6;

/// Class of a segment. `word` is the fourth of its header, which ends with the flags and the window, if it is `there`.
#[inline(always)]
fn class(protocol: u8, word: u32, there: bool) -> u8 {
    if protocol == TCP && there { segment::of((u32::from_be(word) >> 16) as u8) } else { segment::OTHER }
}

/// TCP, UDP, SCTP.
#[inline(always)]
fn has_ports(protocol: u8) -> bool {
    protocol == TCP || protocol == 17 || protocol == 132
}

/// `skb_shared_info.gso_size`; `u16::MAX` when it cannot be read.
#[inline(always)]
fn gso_size<M: Memory>(skb: usize) -> u16 {
    let head: usize = load::<M, _>(skb, global!(OFFSETS.skb_head));
    let end: u32 = load::<M, _>(skb, global!(OFFSETS.skb_end));
    read(head + end as usize + global!(OFFSETS.shinfo_gso_size) as usize).unwrap_or(u16::MAX)
}

/// Writes name and MTU of the interface, and its peer's.
#[inline(always)]
unsafe fn write_device<M: Memory>(record: *mut DropRecord, device: Option<&Device>) {
    let mut name = [0u8; 16];
    let mut mtu = 0;
    let mut peer = 0;
    if let Some(device) = device {
        peer = peer_mtu(device.address);
        mtu = load::<M, _>(device.address, global!(OFFSETS.dev_mtu));
        if let Some(bytes) = read(device.address + global!(OFFSETS.dev_name) as usize) {
            name = bytes;
        }
    }
    // SAFETY: the caller's record is writable memory.
    unsafe {
        (&raw mut (*record).mtu).write(mtu);
        (&raw mut (*record).peer_mtu).write(peer);
        (&raw mut (*record).device).write(name);
    }
}

/// A word of a name, `veth`.
const VETH: u32 = u32::from_le_bytes(*b"veth");

/// MTU of the other end of a veth pair; 0 for other interfaces, and where it cannot be told.
#[inline(always)]
fn peer_mtu(device: usize) -> u32 {
    if global!(OFFSETS.dev_priv) == ABSENT || global!(OFFSETS.dev_link_ops) == ABSENT {
        return 0;
    }
    let kind = read_pointer(device + global!(OFFSETS.dev_link_ops) as usize)
        .and_then(|operations| read_pointer(operations + global!(OFFSETS.link_ops_kind) as usize));
    if kind.and_then(read::<[u32; 2]>).is_none_or(|name| name[0] != VETH || name[1] as u8 != 0) {
        return 0;
    }
    // `struct veth_priv` (drivers/net/veth.c) begins with the peer.
    let peer = read_pointer(device + global!(OFFSETS.dev_priv) as usize);
    peer.and_then(|peer| read(peer + global!(OFFSETS.dev_mtu) as usize)).unwrap_or(0)
}

/// Lowest bit of `skb->_skb_refdst`: not counted (`SKB_DST_NOREF`).
const REFDST_PTRMASK: usize = !1;

/// Writes which interface the packet's route leaves by. The field shares its space with list pointers of TCP's queues, so it
/// is believed only when it leads to an interface of the packet's own namespace.
#[inline(always)]
unsafe fn write_route<M: Memory>(record: *mut DropRecord, skb: usize, netns: u32) {
    let mut out = (0, 0);
    if global!(OFFSETS.skb_refdst) != ABSENT && global!(OFFSETS.dst_dev) != ABSENT {
        let route: usize = load::<M, _>(skb, global!(OFFSETS.skb_refdst));
        let route = route & REFDST_PTRMASK;
        if route != 0
            && let Some(device) = read_pointer(route + global!(OFFSETS.dst_dev) as usize)
            && let Some(net) = read_pointer(device + global!(OFFSETS.dev_net) as usize)
            && read::<u32>(net + global!(OFFSETS.net_inum) as usize) == Some(netns)
        {
            out.0 = read(device + global!(OFFSETS.dev_ifindex) as usize).unwrap_or(0);
            out.1 = read(device + global!(OFFSETS.dev_mtu) as usize).unwrap_or(0);
        }
    }
    // SAFETY: the caller's record is writable memory.
    unsafe {
        (&raw mut (*record).out_ifindex).write(out.0);
        (&raw mut (*record).out_mtu).write(out.1);
        (&raw mut (*record).reserved).write(0);
    }
}

/// Low bits of `skb->_nfct` hold the state of the packet within its connection (`NFCT_INFOMASK`).
const NFCT_PTRMASK: usize = !7;

/// Writes the packet's conntrack entry; whether there is one. The entry belongs to the packet, so it lives.
#[inline(always)]
unsafe fn write_conntrack<M: Memory>(record: *mut DropRecord, skb: usize) -> bool {
    let mut tuples = [EMPTY; 2];
    let mut status = 0;
    let mut found = false;
    if global!(OFFSETS.skb_nfct) != ABSENT && global!(OFFSETS.ct_original) != ABSENT {
        let entry: usize = load::<M, _>(skb, global!(OFFSETS.skb_nfct));
        let entry = entry & NFCT_PTRMASK;
        if entry != 0 {
            let original = tuple(entry + global!(OFFSETS.ct_original) as usize);
            let reply = tuple(entry + global!(OFFSETS.ct_reply) as usize);
            let bits: Option<u64> = read(entry + global!(OFFSETS.ct_status) as usize);
            if let (Some(original), Some(reply), Some(bits)) = (original, reply, bits) {
                tuples = [original, reply];
                status = bits as u32;
                // An untracked packet has a template without addresses.
                found = original.family != 0;
            }
        }
    }
    // SAFETY: the caller's record is writable memory.
    unsafe {
        (&raw mut (*record).tuples).write(tuples);
        (&raw mut (*record).conntrack_status).write(status);
    }
    found
}

const EMPTY: Tuple = Tuple {
    source: [0; 16],
    destination: [0; 16],
    source_port: [0; 2],
    destination_port: [0; 2],
    family: 0,
    protocol: 0,
    padding: 0,
};

/// Reads a `struct nf_conntrack_tuple`.
#[inline(always)]
fn tuple(address: usize) -> Option<Tuple> {
    Some(Tuple {
        source: read(address + global!(OFFSETS.tuple_source) as usize)?,
        destination: read(address + global!(OFFSETS.tuple_destination) as usize)?,
        source_port: read(address + global!(OFFSETS.tuple_source_port) as usize)?,
        destination_port: read(address + global!(OFFSETS.tuple_destination_port) as usize)?,
        family: read(address + global!(OFFSETS.tuple_family) as usize)?,
        protocol: read(address + global!(OFFSETS.tuple_protocol) as usize)?,
        padding: 0,
    })
}

/// Writes where the packet was met, if the trail at its address really is its own.
#[inline(always)]
unsafe fn write_points(record: *mut DropRecord, state: &mut CpuState, skb: usize, digest: u32) {
    let trail = trail::of(state, skb as u64);
    let mut points = [Point { ifindex: 0, out_ifindex: 0, hook: 0 }; TRAIL_POINTS];
    let mut length = 0;
    if trail.packet == skb as u64 && trail.digest == digest && digest != 0 {
        points = trail.points;
        length = trail.length as u8;
    }
    if trail.packet == skb as u64 {
        trail::forget(trail);
    }
    // SAFETY: the caller's record is writable memory.
    unsafe {
        (&raw mut (*record).points).write(points);
        (&raw mut (*record).points_length).write(length);
    }
}
