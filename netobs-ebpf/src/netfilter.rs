//! Netfilter hooks: which one a packet is in, remembered in its trail for the case that it dies there.

use aya_ebpf::cty::c_void;
use netobs_common::trail::{CpuState, hook};

use crate::globals::global;
use crate::kernel::{Memory, Typed, kernel_digest, load, pointer};
use crate::{atomic, maps, trail};

/// `enum nf_inet_hooks` (`include/uapi/linux/netfilter.h`).
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Families (`include/uapi/linux/netfilter.h`).
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// Looks at one packet in one hook. `ctx` is a `struct bpf_nf_ctx`: a pointer to the `nf_hook_state`, one to the
/// `sk_buff`.
#[inline(always)]
pub fn observe(ctx: *mut c_void) {
    let Some(state) = run() else { return };
    // SAFETY: the two fields of the context, see above.
    let (hook_state, skb) = unsafe { (*ctx.cast::<usize>(), *ctx.cast::<usize>().add(1)) };
    let number: u8 = load::<Typed, _>(hook_state, global!(OFFSETS.state_hook));
    remember::<Typed>(state, skb, hook_state, number, false);
}

/// Looks at one packet that `nf_hook_slow` (`net/netfilter/core.c`) is about to show to all who sit in a hook, of whatever
/// family and in whatever namespace. It is not called for hooks where nobody sits.
#[inline(always)]
pub fn observe_walk<M: Memory>(skb: usize, hook_state: usize) {
    let Some(state) = run() else { return };
    let family: u8 = load::<M, _>(hook_state, global!(OFFSETS.state_pf));
    let Some(net) = pointer::<M>(hook_state, global!(OFFSETS.state_net)) else { return };
    let netns: u32 = load::<M, _>(net, global!(OFFSETS.net_inum));
    if family != NFPROTO_IPV4 && family != NFPROTO_IPV6 || netns != global!(KNOBS.own_netns) {
        return;
    }
    let number: u8 = load::<M, _>(hook_state, global!(OFFSETS.state_hook));
    if u32::from(number) <= POSTROUTING {
        remember::<M>(state, skb, hook_state, number, true);
    }
}

/// Counts a run.
#[inline(always)]
fn run() -> Option<&'static mut CpuState> {
    let state = maps::cpu_state()?;
    // Atomic: OUTPUT runs in process context, where a softirq may run another of these in between.
    // SAFETY: a field of a map value of ours.
    unsafe { atomic::add(&raw mut state.counters.netfilter_runs, 1) };
    Some(state)
}

/// Adds a point to the packet's trail. `sparse`: hooks where nobody sits are passed unseen.
#[inline(always)]
fn remember<M: Memory>(state: &mut CpuState, skb: usize, hook_state: usize, number: u8, sparse: bool) {
    let input = ifindex::<M>(hook_state, global!(OFFSETS.state_in));
    let output = ifindex::<M>(hook_state, global!(OFFSETS.state_out));
    let point = trail::netfilter_point(number, input, output);
    let trail = trail::of(state, skb as u64);
    let last = trail::last_hook(trail);
    if trail.packet == skb as u64 && follows(last, u32::from(number), sparse) {
        // Where a bridge has shown a packet to PREROUTING, the walk that IP begins ends at once (`ip_sabotage_in`,
        // net/bridge/br_netfilter_hooks.c): programs in the hook do not see it, one at its beginning does.
        let again = sparse && u32::from(number) == PREROUTING && trail::has(trail, hook::NETFILTER + PREROUTING);
        if !again {
            trail::add(trail, point);
        }
    } else {
        trail::start(trail, skb as u64, kernel_digest::<M>(skb), point);
    }
}

/// Whether a packet can have come from `before` to hook `number` without another of our hooks in between. Anything else
/// is another packet at a reused address.
#[inline(always)]
fn follows(before: u32, number: u32, sparse: bool) -> bool {
    let tcx = before == hook::TCX_INGRESS || before == hook::TCX_EGRESS;
    match number {
        PREROUTING => tcx,
        OUTPUT => false,
        POSTROUTING => {
            tcx || before == hook::NETFILTER + FORWARD
                || before == hook::NETFILTER + OUTPUT
                || sparse && before == hook::NETFILTER + PREROUTING
        }
        // INPUT, FORWARD. With br_netfilter a bridge's own tcx may lie in between.
        _ => tcx || before == hook::NETFILTER + PREROUTING,
    }
}

/// Index of the interface that the hook state's field at `offset` points to; 0 where it has none.
#[inline(always)]
fn ifindex<M: Memory>(hook_state: usize, offset: u32) -> u32 {
    pointer::<M>(hook_state, offset).map_or(0, |device| load::<M, _>(device, global!(OFFSETS.dev_ifindex)))
}
