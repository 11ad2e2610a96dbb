//! Netfilter hooks: which one a packet is in, remembered in its trail for the case that it dies there.

use aya_ebpf::cty::c_void;
use netobs_common::trail::hook;

use crate::globals::global;
use crate::headers;
use crate::kernel::{load, pointer, read};
use crate::{drops, maps, trail};

/// `enum nf_inet_hooks` (include/uapi/linux/netfilter.h).
const PREROUTING: u8 = 0;
const OUTPUT: u8 = 3;

/// Looks at one packet in one hook. `ctx` is a `struct bpf_nf_ctx`: a pointer to the `nf_hook_state`, one to the
/// `sk_buff`.
#[inline(always)]
pub fn observe(ctx: *mut c_void) {
    let Some(state) = maps::cpu_state() else { return };
    state.counters.netfilter_runs += 1;
    // SAFETY: the two fields of the context, see above.
    let (hook_state, skb) = unsafe { (*ctx.cast::<usize>(), *ctx.cast::<usize>().add(1)) };
    let number: u8 = load(hook_state, global!(OFFSETS.state_hook));
    let point = trail::netfilter_point(
        number,
        ifindex(hook_state, global!(OFFSETS.state_in)),
        ifindex(hook_state, global!(OFFSETS.state_out)),
    );
    let trail = trail::of(state, skb as u64);
    let same = trail.packet == skb as u64 && trail.length > 0;
    let continues = match number {
        // Comes from an interface: from the ingress just before, if that is one we watch.
        PREROUTING => {
            same && {
                let last = (trail.length as usize).wrapping_sub(1) & 7;
                last < trail.points.len()
                    // SAFETY: just checked.
                    && unsafe { trail.points.get_unchecked(last) }.hook == hook::TCX_INGRESS
            }
        }
        // Made on this machine.
        OUTPUT => false,
        _ => same,
    };
    if continues {
        trail::add(trail, point);
        return;
    }
    let ethertype: u16 = load(skb, global!(OFFSETS.skb_protocol));
    let digest = drops::network_header(skb)
        .and_then(|(address, _)| read::<[u32; 3]>(address))
        .map_or(0, |first| first_digest(ethertype, &first));
    trail::start(trail, skb as u64, digest, point);
}

/// The digest from the first words of a network header; 0 when they are none.
#[inline(always)]
pub fn first_digest(ethertype: u16, first: &[u32; 3]) -> u32 {
    if ethertype == headers::IPV4 {
        headers::v4_digest(first)
    } else if ethertype == headers::IPV6 {
        headers::v6_digest(&[first[0], first[1]])
    } else {
        0
    }
}

/// Index of the interface that the hook state's field at `offset` points to; 0 where it has none.
#[inline(always)]
fn ifindex(hook_state: usize, offset: u32) -> u32 {
    pointer(hook_state, offset).map_or(0, |device| load(device, global!(OFFSETS.dev_ifindex)))
}
