//! netobs's kernel programs: entry points only.
//!
//! Every program observes and nothing else: tcx programs return `TCX_NEXT`, netfilter programs `NF_ACCEPT`.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", allow(unstable_features), feature(asm_experimental_arch))]
#![allow(
    clippy::inline_always,
    clippy::verbose_bit_mask,
    clippy::cast_ptr_alignment,
    clippy::needless_pass_by_value,
    missing_docs,
    reason = "calls cost instructions and verifier state; masks are as in the RFCs; alignment is asserted in netobs-common; the rest is what aya's \
              macros make of entry points"
)]

mod arguments;
mod atomic;
mod bucket;
mod connection;
mod dns;
mod drops;
mod emit;
mod globals;
mod headers;
mod icmp;
mod kernel;
mod load;
mod maps;
mod netfilter;
mod reset;
mod scope;
mod sighted;
mod sockets;
mod tcx;
mod trail;

use aya_ebpf::cty::c_void;
use aya_ebpf::macros::{btf_tracepoint, classifier, fentry, kprobe, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, ProbeContext, RawTracePointContext, TcContext};
use netobs_common::trail::hook;

use crate::arguments::Arguments as _;
use crate::kernel::{Typed, Untyped};
use crate::tcx::Place;

/// `TCX_NEXT` / `TC_ACT_UNSPEC` (include/uapi/linux/bpf.h): whoever comes next decides.
const NEXT: i32 = -1;
/// `NF_ACCEPT` (include/uapi/linux/netfilter.h).
const ACCEPT: i32 = 1;
/// Bytes of an Ethernet header; loopback and veth have one too.
const ETHERNET: usize = 14;

/// Ingress of interfaces where packets come into this namespace: ports of pods, uplinks.
#[classifier]
#[inline(always)]
pub fn tcx_ingress(ctx: TcContext) -> i32 {
    tcx::observe(&ctx, Place { hook: hook::TCX_INGRESS, arrival: true, offset: ETHERNET });
    NEXT
}

/// Ingress of interfaces that are handed packets by others of this namespace: bridges, loopback.
#[classifier]
#[inline(always)]
pub fn tcx_ingress_upper(ctx: TcContext) -> i32 {
    tcx::observe(&ctx, Place { hook: hook::TCX_INGRESS, arrival: false, offset: ETHERNET });
    NEXT
}

/// Egress of interfaces whose packets begin with a MAC header.
#[classifier]
#[inline(always)]
pub fn tcx_egress(ctx: TcContext) -> i32 {
    tcx::observe(&ctx, Place { hook: hook::TCX_EGRESS, arrival: false, offset: ETHERNET });
    NEXT
}

/// Ingress of interfaces without a MAC header (tun, `WireGuard`, ipip).
#[classifier]
#[inline(always)]
pub fn tcx_ingress_l3(ctx: TcContext) -> i32 {
    tcx::observe(&ctx, Place { hook: hook::TCX_INGRESS, arrival: true, offset: 0 });
    NEXT
}

/// Egress of interfaces without a MAC header.
#[classifier]
#[inline(always)]
pub fn tcx_egress_l3(ctx: TcContext) -> i32 {
    tcx::observe(&ctx, Place { hook: hook::TCX_EGRESS, arrival: false, offset: 0 });
    NEXT
}

/// Returns `TCX_NEXT` and does nothing: what `cargo xtask bench progrun` compares with.
#[classifier]
pub fn empty(_ctx: TcContext) -> i32 {
    NEXT
}

/// `skb:kfree_skb`: a packet was freed for a reason other than having been delivered.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    drops::observe(&ctx);
    0
}

/// `tcp:tcp_send_reset`: a reset is about to be sent.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    sockets::send_reset(&ctx);
    0
}

/// `tcp:tcp_receive_reset`: a socket was sent a reset that it accepts.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    sockets::receive_reset(&ctx);
    0
}

/// `sock:inet_sock_set_state`: a connection changes its state.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    sockets::set_state(&ctx);
    0
}

/// `skb:kfree_skb` where the kernel has no BTF tracepoints.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    drops::observe(&ctx);
    0
}

/// `tcp:tcp_send_reset`, likewise.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn tcp_send_reset_raw(ctx: RawTracePointContext) -> i32 {
    sockets::send_reset(&ctx);
    0
}

/// `tcp:tcp_receive_reset`, likewise.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn tcp_receive_reset_raw(ctx: RawTracePointContext) -> i32 {
    sockets::receive_reset(&ctx);
    0
}

/// `sock:inet_sock_set_state`, likewise.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state_raw(ctx: RawTracePointContext) -> i32 {
    sockets::set_state(&ctx);
    0
}

/// `nf_hook_slow`, where the kernel has no netfilter links: a packet comes into a netfilter hook.
#[fentry(function = "nf_hook_slow")]
pub fn nf_hook_slow(ctx: FEntryContext) -> i32 {
    netfilter::observe_walk::<Typed>(ctx.argument(0), ctx.argument(1));
    0
}

/// The same where the kernel has no fentry, either.
#[kprobe(function = "nf_hook_slow")]
pub fn nf_hook_slow_probe(ctx: ProbeContext) -> u32 {
    if let Some((skb, state)) = arguments::of_function(&ctx) {
        netfilter::observe_walk::<Untyped>(skb, state);
    }
    0
}

/// Netfilter hook. It sits in section "socket" because aya knows no netfilter section; the daemon loads it by hand as
/// `BPF_PROG_TYPE_NETFILTER`, and nobody loads it as a socket filter.
#[unsafe(no_mangle)]
#[unsafe(link_section = "socket")]
pub extern "C" fn netfilter_hook(ctx: *mut c_void) -> i32 {
    netfilter::observe(ctx);
    ACCEPT
}

/// Unreachable: nothing here panics, and the verifier would refuse a call to it.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// "GPL" compatible: `bpf_probe_read_kernel` and others are for such programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
