//! tcx: every packet that passes an interface, both directions. Runs for all traffic, so: parse, remember, compare, count.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use netobs_common::counters::hook as counted;
use netobs_common::tcp::flag;
use netobs_common::trail::{CpuState, Trail, with_transport};

use crate::globals::global;
use crate::headers::{self, Direct, Helper, ICMP, ICMPV6, Packet, Source, TCP, UDP};
use crate::{connection, dns, icmp, maps, reset, trail};

/// Where a classifier is attached. Known at compile time: one program each.
#[derive(Clone, Copy)]
pub struct Place {
    /// `TCX_INGRESS` or `TCX_EGRESS`.
    pub hook: u32,
    /// Whether packets come into this namespace here.
    pub arrival: bool,
    /// Bytes of the MAC header before the network header.
    pub offset: usize,
}

/// A packet of interest at a place. What looks closer at one is a function of its own, and gets copies: so the path of the
/// others stays short, and its values in registers.
pub struct Seen<S> {
    /// The program's context.
    pub skb: *mut __sk_buff,
    /// Its bytes.
    pub source: S,
    /// Its headers.
    pub packet: Packet,
    /// What identifies it beside its address.
    pub digest: u32,
    /// The interface.
    pub ifindex: u32,
    /// The hook.
    pub place: Place,
}

impl<S> Seen<S> {
    /// `skb->len`, bytes.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { (*self.skb).len }
    }
}

/// Looks at one packet.
#[inline(always)]
pub fn observe(ctx: &TcContext, place: Place) {
    let Some(state) = maps::cpu_state() else { return };
    state.counters.hooks[counted::TCX].runs += 1;
    // SAFETY: fields of the context, rewritten by the verifier to loads from the sk_buff.
    let (ethertype, ifindex) = unsafe { ((*ctx.skb.skb).protocol as u16, (*ctx.skb.skb).ifindex) };
    if ethertype != headers::IPV4 && ethertype != headers::IPV6 {
        state.counters.hooks[counted::TCX].not_network += 1;
        return;
    }
    let direct = Direct { data: ctx.data(), end: ctx.data_end() };
    if inspect(ctx, state, &direct, ethertype, place, ifindex) {
        return;
    }
    // The headers are not all in the linear part, or they are none.
    if !inspect(ctx, state, &Helper { skb: ctx.skb.skb }, ethertype, place, ifindex) {
        state.counters.hooks[counted::TCX].no_interest += 1;
    }
}

/// Whether the headers could be read from `source` as far as they are needed; if so, the packet has been dealt with.
#[inline(always)]
fn inspect(
    ctx: &TcContext,
    state: &mut CpuState,
    source: &(impl Source + Copy),
    ethertype: u16,
    place: Place,
    ifindex: u32,
) -> bool {
    let Some(packet) = headers::parse(source, ethertype, place.offset) else { return false };
    let address = ctx.skb.skb as u64;
    if packet.protocol == TCP && packet.has_transport {
        // RFC 9293 section 3.1: ports | sequence number | acknowledgment number | offset, flags, window.
        let Some(words) = source.words::<4>(packet.transport) else { return false };
        let digest = with_transport(packet.fixed, words[1]);
        remember(trail::of(state, address), address, digest, place, ifindex);
        let flags = (u32::from_be(words[3]) >> 16) as u8;
        if flags & (flag::RST | flag::SYN) != 0 {
            let seen = Seen { skb: ctx.skb.skb, source: *source, packet, digest, ifindex, place };
            if flags & flag::RST != 0 && global!(KNOBS.resets) != 0 {
                reset::observe(state, &seen, &words);
                return true;
            }
            if flags & (flag::RST | flag::SYN | flag::ACK) == flag::SYN && global!(KNOBS.resets) != 0 {
                connection::note(state, &seen, words[0]);
            }
        }
    } else if packet.protocol == UDP && packet.has_transport {
        let Some([ports]) = source.words(packet.transport) else { return false };
        let digest = packet.digest(source);
        remember(trail::of(state, address), address, digest, place, ifindex);
        if (is_dns((u32::from_be(ports) >> 16) as u16) || is_dns(u32::from_be(ports) as u16)) && global!(KNOBS.dns) != 0
        {
            let seen = Seen { skb: ctx.skb.skb, source: *source, packet, digest, ifindex, place };
            dns::observe(state, &seen, ports);
            return true;
        }
    } else {
        let digest = packet.digest(source);
        remember(trail::of(state, address), address, digest, place, ifindex);
        if (packet.protocol == ICMP || packet.protocol == ICMPV6) && packet.has_transport && global!(KNOBS.mtu) != 0 {
            let Some(words) = source.words::<2>(packet.transport) else { return false };
            if icmp::is_about_size(packet.version, words[0]) {
                let seen = Seen { skb: ctx.skb.skb, source: *source, packet, digest, ifindex, place };
                icmp::observe(state, &seen, &words);
                return true;
            }
        }
    }
    state.counters.hooks[counted::TCX].no_interest += 1;
    true
}

/// A packet that a port or an uplink receives is new here, whatever the trail at its address says: `sk_buff`s are reused
/// at once. What a bridge or the loopback receives came through a port or an egress just before, and continues that
/// packet's trail. One that leaves continues its trail, or was made here.
#[inline(always)]
fn remember(trail: &mut Trail, packet: u64, digest: u32, place: Place, ifindex: u32) {
    let point = trail::tcx_point(place.hook, ifindex);
    if !place.arrival && trail.packet == packet && trail.digest == digest {
        trail::add(trail, point);
    } else {
        trail::start(trail, packet, digest, point);
    }
}

#[inline(always)]
fn is_dns(port: u16) -> bool {
    port == global!(KNOBS.dns_ports[0])
        || port == global!(KNOBS.dns_ports[1])
        || port == global!(KNOBS.dns_ports[2])
        || port == global!(KNOBS.dns_ports[3])
}
