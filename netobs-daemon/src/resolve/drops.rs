//! What users read of a drop.

use netobs_common::trail::TRAIL_POINTS;

use super::Sources;
use super::points::netfilter_hook;
use crate::event::joined::Joined;
use crate::event::observation::DropDetail;
use crate::event::raw::RawDrop;
use crate::event::tcp::flag_names;

/// What is told of a drop. `reason` is its name.
pub fn detail(drop: &RawDrop, joined: &Joined, reason: Option<String>, sources: &Sources<'_>) -> DropDetail {
    let reason = reason.unwrap_or_default();
    DropDetail {
        hook: hook(joined, &reason, sources).map(str::to_owned),
        reason,
        location: sources.naming.symbol(drop.location),
        length: Some(drop.length),
        mtu: drop.mtu,
        tcp_flags: drop.tcp_flags.map(flag_names),
    }
}

/// The netfilter hook that a packet was dropped in: the last one it was met in, if nothing else can have dropped it.
fn hook(joined: &Joined, reason: &str, sources: &Sources<'_>) -> Option<&'static str> {
    // Our programs see the hooks of the daemon's own namespace only.
    let here = joined.netns == Some(sources.places.own_netns());
    let last = joined.points.last().filter(|_| here && reason == "NETFILTER_DROP")?;
    let name = netfilter_hook(last)?;
    // A full trail keeps its oldest points: the last one is not known.
    if joined.points.len() >= TRAIL_POINTS {
        return None;
    }
    let ipv6 = joined.tuple.is_some_and(|tuple| tuple.source.is_ipv6());
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
pub fn coalesced(reason: String) -> DropDetail {
    DropDetail { reason, location: None, hook: None, length: None, mtu: None, tcp_flags: None }
}
