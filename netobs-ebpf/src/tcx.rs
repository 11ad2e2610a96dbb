//! tcx: every packet that passes an interface, both directions. Runs for all traffic, so: parse, remember, compare, count.

use aya_ebpf::programs::TcContext;
use netobs_common::counters::family;
use netobs_common::trail::{CpuState, Trail, hook};

use crate::globals::global;
use crate::headers::{self, Direct, Helper, Packet, Source, UDP};
use crate::{dns, maps, trail};

/// Looks at one packet whose network header begins `offset` bytes into the frame.
#[inline(always)]
pub fn observe(ctx: &TcContext, hook: u8, offset: usize) {
    let Some(state) = maps::cpu_state() else { return };
    state.counters.families[family::DNS].runs += 1;
    // SAFETY: fields of the context, rewritten by the verifier to loads from the sk_buff.
    let (ethertype, ifindex) = unsafe { ((*ctx.skb.skb).protocol as u16, (*ctx.skb.skb).ifindex) };
    if ethertype != headers::IPV4 && ethertype != headers::IPV6 {
        state.counters.families[family::DNS].not_network += 1;
        return;
    }
    let direct = Direct { data: ctx.data(), end: ctx.data_end() };
    if let Some(packet) = headers::parse(&direct, ethertype, offset) {
        inspect(ctx, state, &direct, &packet, hook, ifindex, offset);
    } else {
        // The headers are not in the linear part, or they are none.
        let helper = Helper { skb: ctx.skb.skb };
        if let Some(packet) = headers::parse(&helper, ethertype, offset) {
            inspect(ctx, state, &helper, &packet, hook, ifindex, offset);
        } else {
            state.counters.families[family::DNS].no_interest += 1;
        }
    }
}

#[inline(always)]
fn inspect(
    ctx: &TcContext,
    state: &mut CpuState,
    source: &impl Source,
    packet: &Packet,
    hook: u8,
    ifindex: u32,
    offset: usize,
) {
    let address = ctx.skb.skb as u64;
    remember(trail::of(state, address), address, packet.digest, hook, ifindex);
    if packet.protocol == UDP
        && packet.has_transport
        && let Some(ports) = source.load::<[u16; 2]>(packet.transport)
        && (is_dns(u16::from_be(ports[0])) || is_dns(u16::from_be(ports[1])))
        && global!(KNOBS.dns) != 0
    {
        dns::observe(ctx, state, source, packet, ports, ifindex, offset, hook);
        return;
    }
    state.counters.families[family::DNS].no_interest += 1;
}

/// A packet that an interface receives is new here, unless it came through a port of that interface (bridge) and is the
/// one whose trail we hold. One that leaves continues its trail, or was made here.
#[inline(always)]
fn remember(trail: &mut Trail, packet: u64, digest: u32, hook: u8, ifindex: u32) {
    let point = trail::tcx_point(hook, ifindex);
    let same = trail.packet == packet && trail.digest == digest;
    let continues = if hook == hook::TCX_INGRESS {
        // Seen at ingress of another interface just before: handed up by a bridge, a VLAN or a tunnel. At ingress of
        // the same one: another packet in a reused sk_buff, that happens to have the same digest.
        same && trail.length == 1 && trail.points[0].hook == hook::TCX_INGRESS && trail.points[0].ifindex != ifindex
    } else {
        same
    };
    if continues {
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
