//! What a link is for, from its kind, type and peer; never from its name.

use serde::Serialize;

/// Role of a link. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `lo`.
    Loopback,
    /// A Linux bridge, also one that carries a default route.
    Bridge,
    /// Carries a default route (IPv4 or IPv6, any table); or hardware, a bond or a team that is up and no other
    /// device's port. In nested set-ups (a node that is itself a container) this is a veth.
    Uplink,
    /// The host's end of a pair whose other end is in another network namespace.
    PodSide,
    /// Encapsulates, or hands packets to a process.
    Tunnel,
    /// Anything else: ports of bonds, VLANs and macvlans without a default route, pairs within one namespace, links
    /// that are down.
    Other,
}

/// `ARPHRD_*` (`include/uapi/linux/if_arp.h`).
mod arphrd {
    pub const ETHER: u16 = 1;
    pub const LOOPBACK: u16 = 772;
}

/// What a role is derived from.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, as netlink tells them")]
pub struct Traits<'a> {
    /// `IFLA_INFO_KIND`; hardware has none.
    pub kind: Option<&'a str>,
    /// `ARPHRD_*`.
    pub arphrd: u16,
    /// Administratively up.
    pub up: bool,
    /// A port of another device.
    pub enslaved: bool,
    /// Its peer is in another namespace.
    pub peer_elsewhere: bool,
    /// A default route leads out of it.
    pub default_route: bool,
}

impl Role {
    /// Decides.
    pub fn of(link: Traits<'_>) -> Self {
        match link.kind {
            _ if link.arphrd == arphrd::LOOPBACK => Self::Loopback,
            Some("bridge") => Self::Bridge,
            _ if link.default_route => Self::Uplink,
            // netkit (6.7) is veth's successor in Cilium.
            Some("veth" | "netkit") if link.peer_elsewhere => Self::PodSide,
            Some(
                "vxlan" | "geneve" | "gre" | "gretap" | "ip6gre" | "ip6gretap" | "ipip" | "ip6tnl" | "sit" | "vti"
                | "vti6" | "xfrm" | "wireguard" | "tun" | "erspan" | "ip6erspan" | "bareudp",
            ) => Self::Tunnel,
            None | Some("bond" | "team") if link.arphrd == arphrd::ETHER && link.up && !link.enslaved => Self::Uplink,
            _ => Self::Other,
        }
    }
}

/// Bytes of link-layer header in front of the network header, as far as packets of this link have one.
pub(super) fn mac_header(arphrd: u16) -> u8 {
    match arphrd {
        arphrd::ETHER | arphrd::LOOPBACK => 14,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Traits<'_> = Traits {
        kind: None,
        arphrd: arphrd::ETHER,
        up: true,
        enslaved: false,
        peer_elsewhere: false,
        default_route: false,
    };

    fn check(link: Traits<'_>, expected: Role) {
        assert_eq!(Role::of(link), expected, "{link:?}");
    }

    #[test]
    fn roles() {
        let kind = |kind| Traits { kind: Some(kind), ..PLAIN };
        check(Traits { arphrd: arphrd::LOOPBACK, default_route: true, ..PLAIN }, Role::Loopback);
        check(PLAIN, Role::Uplink);
        check(Traits { up: false, ..PLAIN }, Role::Other);
        check(Traits { enslaved: true, ..PLAIN }, Role::Other);
        check(Traits { enslaved: true, default_route: true, ..PLAIN }, Role::Uplink);
        check(Traits { arphrd: 280, ..PLAIN }, Role::Other);
        check(Traits { peer_elsewhere: true, ..kind("veth") }, Role::PodSide);
        check(Traits { peer_elsewhere: true, enslaved: true, ..kind("veth") }, Role::PodSide);
        check(Traits { peer_elsewhere: true, default_route: true, ..kind("veth") }, Role::Uplink);
        check(kind("veth"), Role::Other);
        check(Traits { peer_elsewhere: true, ..kind("macvlan") }, Role::Other);
        check(Traits { default_route: true, ..kind("bridge") }, Role::Bridge);
        check(kind("bond"), Role::Uplink);
        check(kind("vlan"), Role::Other);
        check(Traits { default_route: true, ..kind("vlan") }, Role::Uplink);
        for name in ["vxlan", "wireguard", "ipip", "tun"] {
            check(kind(name), Role::Tunnel);
        }
        check(kind("dummy"), Role::Other);
    }
}
