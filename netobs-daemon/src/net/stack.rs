//! Devices on top of others in the same namespace: each packet they receive was received by one below just before, as the
//! same `sk_buff` (`another_round` in `__netif_receive_skb_core`, `net/core/dev.c`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::links::Link;
use super::role::Role;

/// Devices that one below names as theirs (`IFLA_LINK`), and that hand its packets on as they are. Tunnels name one too, but
/// what comes out of them is another packet.
const UPPER_KINDS: &[&str] = &["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// Indexes of the devices that a link is on top of: its ports (bond, team, the failover of a virtual machine), or the one
/// that it shares. Not of a bridge, which has a role of its own.
pub fn below(link: &Link, links: &BTreeMap<u32, Arc<Link>>) -> Vec<u32> {
    if link.role == Role::Bridge {
        return Vec::new();
    }
    if let Some(shared) = shared(link) {
        return links.contains_key(&shared).then_some(shared).into_iter().collect();
    }
    links.values().filter(|other| other.master == Some(link.ifindex)).map(|port| port.ifindex).collect()
}

/// The links that are on top of this one.
pub fn above<'a>(link: &Link, links: &'a BTreeMap<u32, Arc<Link>>) -> Vec<&'a Arc<Link>> {
    let on_top = |other: &Link| link.master == Some(other.ifindex) || shared(other) == Some(link.ifindex);
    links.values().filter(|other| other.role != Role::Bridge && on_top(other)).collect()
}

fn shared(link: &Link) -> Option<u32> {
    let kind = link.kind.as_deref()?;
    link.peer.filter(|_| UPPER_KINDS.contains(&kind) && link.peer_nsid.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, kind: Option<&str>, (master, peer): (Option<u32>, Option<u32>)) -> Arc<Link> {
        Arc::new(Link {
            ifindex,
            name: format!("if{ifindex}").into(),
            kind: kind.map(Into::into),
            arphrd: 1,
            mac_header: 14,
            up: true,
            mtu: 1500,
            master,
            peer,
            peer_nsid: None,
            role: if kind == Some("bridge") { Role::Bridge } else { Role::Other },
        })
    }

    #[test]
    fn stacks() {
        let links = [
            link(2, None, (Some(4), None)),
            link(3, None, (Some(4), None)),
            link(4, Some("bond"), (None, None)),
            link(5, Some("vlan"), (None, Some(4))),
            // Tunnels, pairs, ports of bridges and what shares a device of another namespace are no stack.
            link(6, Some("vxlan"), (None, Some(4))),
            link(7, Some("veth"), (Some(9), Some(8))),
            link(8, Some("veth"), (None, Some(7))),
            link(9, Some("bridge"), (None, None)),
            Arc::new(Link { peer_nsid: Some(1), ..Link::clone(&link(10, Some("macvlan"), (None, Some(4)))) }),
            // Its device went.
            link(11, Some("macvlan"), (None, Some(99))),
        ];
        let links: BTreeMap<_, _> = links.into_iter().map(|link| (link.ifindex, link)).collect();
        let below: BTreeMap<_, _> =
            links.iter().map(|(&ifindex, link)| (ifindex, super::below(link, &links))).collect();
        let stacked: Vec<_> = below.into_iter().filter(|(_, below)| !below.is_empty()).collect();
        assert_eq!(stacked, [(4, vec![2, 3]), (5, vec![4])]);
        let above =
            |ifindex| super::above(&links[&ifindex], &links).iter().map(|link| link.ifindex).collect::<Vec<_>>();
        assert_eq!((above(2), above(4), above(7)), (vec![4], vec![5], vec![]));
    }
}
