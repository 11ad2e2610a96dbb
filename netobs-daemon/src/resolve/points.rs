//! Where a packet was met, in words.

use netobs_common::trail::{Point, hook};

use super::Places;
use crate::event::observation::ObservationPoint;

/// Name of the netfilter hook that a point is at (`enum nf_inet_hooks`); `None` for other points.
pub fn netfilter_hook(point: &Point) -> Option<&'static str> {
    const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
    HOOKS.get(usize::from(point.hook.checked_sub(hook::NETFILTER)?)).copied()
}

/// A point in words; `None` for a hook that this daemon does not know.
pub fn describe(point: &Point, places: &dyn Places) -> Option<ObservationPoint> {
    let name = |index: u32| places.interface(index).map(|interface| interface.name.to_string());
    let (at, out_interface) = match point.hook {
        hook::TCX_INGRESS => ("tcx-ingress", None),
        hook::TCX_EGRESS => ("tcx-egress", None),
        _ if netfilter_hook(point).is_some() => ("netfilter", name(point.out_ifindex)),
        _ => return None,
    };
    Some(ObservationPoint {
        at: at.to_owned(),
        hook: netfilter_hook(point).map(str::to_owned),
        interface: name(point.ifindex),
        out_interface,
    })
}
