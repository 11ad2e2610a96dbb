//! What users read of a drop.

use super::Sources;
use super::points::netfilter_hook;
use crate::event::joined::{Joined, LastPoint};
use crate::event::observation::DropDetail;
use crate::event::raw::RawDrop;
use crate::event::tcp::flag_names;

/// What is told of a drop. `reason` is its name.
pub fn detail(drop: &RawDrop, joined: &Joined, reason: Option<String>, sources: &Sources<'_>) -> DropDetail {
    let reason = reason.unwrap_or_default();
    let by_netfilter = reason == "NETFILTER_DROP";
    let hook = LastPoint::of(joined).filter(|_| by_netfilter).and_then(|last| hook(&last, sources));
    DropDetail {
        hook: hook.map(str::to_owned),
        reason,
        location: sources.naming.symbol(drop.location),
        length: Some(drop.length),
        mtu: drop.mtu,
        tcp_flags: drop.tcp_flags.map(flag_names),
        answered: joined.answered,
    }
}

/// The netfilter hook that a packet which netfilter dropped was in: the last one it was met in, if nothing else can have
/// dropped it.
pub fn hook(last: &LastPoint, sources: &Sources<'_>) -> Option<&'static str> {
    let LastPoint { point, netns, ipv6 } = *last;
    // Our programs see the hooks of the daemon's own namespace only.
    let name = netfilter_hook(&point).filter(|_| netns == Some(sources.places.own_netns()))?;
    // Hooks that may come next (`enum nf_inet_hooks`: PREROUTING 0, INPUT 1, FORWARD 2, OUTPUT 3, POSTROUTING 4): where
    // somebody comes before our program, the packet may have died there, unseen by it.
    let next: &[u32] = match name {
        "PREROUTING" => &[1, 2],
        "FORWARD" | "OUTPUT" => &[4],
        _ => &[],
    };
    next.iter().all(|number| sources.naming.is_first_in_hook(ipv6, *number)).then_some(name)
}

/// What is told of drops that were counted.
pub fn coalesced(reason: String, location: u64, joined: &Joined, sources: &Sources<'_>) -> DropDetail {
    DropDetail {
        reason,
        location: sources.naming.symbol(location),
        hook: None,
        length: None,
        mtu: None,
        tcp_flags: None,
        answered: joined.answered,
    }
}
