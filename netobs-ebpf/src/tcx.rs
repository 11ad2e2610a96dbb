//! tcx: every packet that passes an interface, both directions. Runs for all traffic, so: parse, remember, compare, count.

use aya_ebpf::programs::TcContext;
use netobs_common::counters::family;
use netobs_common::trail::{CpuState, Trail};

use crate::globals::global;
use crate::headers::{self, Direct, Helper, Source, UDP};
use crate::{dns, maps, trail};

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

/// Looks at one packet.
#[inline(always)]
pub fn observe(ctx: &TcContext, place: Place) {
    let Some(state) = maps::cpu_state() else { return };
    state.counters.families[family::DNS].runs += 1;
    // SAFETY: fields of the context, rewritten by the verifier to loads from the sk_buff.
    let (ethertype, ifindex) = unsafe { ((*ctx.skb.skb).protocol as u16, (*ctx.skb.skb).ifindex) };
    if ethertype != headers::IPV4 && ethertype != headers::IPV6 {
        state.counters.families[family::DNS].not_network += 1;
        return;
    }
    let direct = Direct { data: ctx.data(), end: ctx.data_end() };
    if inspect(ctx, state, &direct, ethertype, place, ifindex) {
        return;
    }
    // The headers are not all in the linear part, or they are none.
    if !inspect(ctx, state, &Helper { skb: ctx.skb.skb }, ethertype, place, ifindex) {
        state.counters.families[family::DNS].no_interest += 1;
    }
}

/// Whether the headers could be read from `source` as far as they are needed; if so, the packet has been dealt with.
#[inline(always)]
fn inspect(
    ctx: &TcContext,
    state: &mut CpuState,
    source: &impl Source,
    ethertype: u16,
    place: Place,
    ifindex: u32,
) -> bool {
    let Some(packet) = headers::parse(source, ethertype, place.offset) else { return false };
    let mut ports = 0;
    let udp = packet.protocol == UDP && packet.has_transport;
    if udp {
        let Some([word]) = source.words(packet.transport) else { return false };
        ports = word;
    }
    let address = ctx.skb.skb as u64;
    let digest = packet.digest(source);
    remember(trail::of(state, address), address, digest, place, ifindex);
    if udp
        && (is_dns((u32::from_be(ports) >> 16) as u16) || is_dns(u32::from_be(ports) as u16))
        && global!(KNOBS.dns) != 0
    {
        dns::observe(ctx, state, source, &packet, digest, ports, ifindex, place);
    } else {
        state.counters.families[family::DNS].no_interest += 1;
    }
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
