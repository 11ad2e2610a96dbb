//! Netfilter hooks: which one a packet is in, remembered in its trail for the case that it dies there.

use aya_ebpf::cty::c_void;
use netobs_common::trail::hook;

use crate::globals::global;
use crate::kernel::{kernel_digest, load, pointer};
use crate::{atomic, maps, trail};

/// `enum nf_inet_hooks` (`include/uapi/linux/netfilter.h`).
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// Looks at one packet in one hook. `ctx` is a `struct bpf_nf_ctx`: a pointer to the `nf_hook_state`, one to the
/// `sk_buff`.
#[inline(always)]
pub fn observe(ctx: *mut c_void) {
    let Some(state) = maps::cpu_state() else { return };
    // Atomic: OUTPUT runs in process context, where a softirq may run another of these in between.
    // SAFETY: a field of a map value of ours.
    unsafe { atomic::add(&raw mut state.counters.netfilter_runs, 1) };
    // SAFETY: the two fields of the context, see above.
    let (hook_state, skb) = unsafe { (*ctx.cast::<usize>(), *ctx.cast::<usize>().add(1)) };
    let number: u8 = load(hook_state, global!(OFFSETS.state_hook));
    let input = ifindex(hook_state, global!(OFFSETS.state_in));
    let output = ifindex(hook_state, global!(OFFSETS.state_out));
    let point = trail::netfilter_point(number, input, output);
    let trail = trail::of(state, skb as u64);
    if trail.packet == skb as u64 && follows(trail::last_hook(trail), u32::from(number)) {
        trail::add(trail, point);
    } else {
        trail::start(trail, skb as u64, kernel_digest(skb), point);
    }
}

/// Whether a packet can have come from `before` to hook `number` without another of our hooks in between. Anything else
/// is another packet at a reused address.
#[inline(always)]
fn follows(before: u32, number: u32) -> bool {
    let tcx = before == hook::TCX_INGRESS || before == hook::TCX_EGRESS;
    match number {
        PREROUTING => tcx,
        OUTPUT => false,
        POSTROUTING => tcx || before == hook::NETFILTER + FORWARD || before == hook::NETFILTER + OUTPUT,
        // INPUT, FORWARD. With br_netfilter a bridge's own tcx may lie in between.
        _ => tcx || before == hook::NETFILTER + PREROUTING,
    }
}

/// Index of the interface that the hook state's field at `offset` points to; 0 where it has none.
#[inline(always)]
fn ifindex(hook_state: usize, offset: u32) -> u32 {
    pointer(hook_state, offset).map_or(0, |device| load(device, global!(OFFSETS.dev_ifindex)))
}
