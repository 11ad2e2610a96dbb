//! Links, addresses, routes and sysctls of a node and its pods.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Layout, Node};
use crate::netns::Netns;
use crate::place::Place;
use crate::random;

/// The node's uplink; its other end, in the internet's namespace, is `to-node`.
pub(super) const UPLINK: &str = "eth0";

/// Index of the uplink. The kernel handles a change of carrier at once where an interface's index differs from its
/// peer's (`linkwatch_urgent_event`, `net/core/link_watch.c`), else up to a second later: the peer is number 2.
const UPLINK_INDEX: u32 = 3;

/// Link-local IPv4 address that all pods have as gateway in [`Layout::HostRouted`] (Calico's choice).
const POINT_TO_POINT_GATEWAY: &str = "169.254.1.1";
/// Hardware address of all host sides in [`Layout::HostRouted`], and the link-local address that follows from it.
const HOST_SIDE: (&str, &str) = ("ee:ee:ee:ee:ee:ee", "fe80::ecee:eeff:feee:eeee");

/// No duplicate address detection: addresses are usable at once.
fn without_dad(netns: &Netns) -> Result<()> {
    set(netns, &[("net.ipv6.conf.all.accept_dad", "0"), ("net.ipv6.conf.default.accept_dad", "0")])
}

fn set(netns: &Netns, values: &[(&str, &str)]) -> Result<()> {
    values.iter().try_for_each(|(key, value)| netns.sysctl(key, value))
}

/// Wires the node, its uplink and the internet.
pub(super) fn node(node: &Node) -> Result<()> {
    let plan = node.plan();
    let (node4, node6) = plan.node();
    let (router4, router6) = plan.router();
    let (host4, host6) = plan.internet();
    without_dad(node.netns())?;
    without_dad(node.internet.netns())?;
    let forward = [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")];
    set(node.netns(), &forward)?;
    // Bridged packets between pods must meet iptables, as Kubernetes requires. A new namespace has it on where
    // br_netfilter is built in, but the machine's administrator may have changed that default.
    if node.layout == Layout::Bridge {
        set(
            node.netns(),
            &[("net.bridge.bridge-nf-call-iptables", "1"), ("net.bridge.bridge-nf-call-ip6tables", "1")],
        )?;
    }
    let namespace = node.switch.as_ref().unwrap_or(&node.internet).netns().name();
    node.ip(&format!(
        "link set lo up\n\
         link add {UPLINK} index {UPLINK_INDEX} type veth peer name to-node netns {namespace}\n\
         addr add {node4}/24 dev {UPLINK}\n\
         addr add {node6}/64 dev {UPLINK} nodad\n\
         link set {UPLINK} up\n"
    ))?;
    if let Some(switch) = &node.switch {
        let internet = node.internet.netns().name();
        switch.ip(&format!(
            "link add to-internet type veth peer name to-node netns {internet}\n\
             link add switch type bridge forward_delay 0 stp_state 0\n\
             link set to-internet master switch\n\
             link set to-node master switch\n\
             link set to-internet up\n\
             link set to-node up\n\
             link set switch up\n"
        ))?;
    }
    node.internet.ip(&format!(
        "link set lo up\n\
         addr add {host4}/32 dev lo\n\
         addr add {host6}/128 dev lo nodad\n\
         addr add {router4}/24 dev to-node\n\
         addr add {router6}/64 dev to-node nodad\n\
         link set to-node up\n"
    ))?;
    node.netns().wait_for_ipv6(UPLINK)?;
    node.internet.netns().wait_for_ipv6("to-node")?;
    node.ip(&format!("route add default via {router4}\nroute add ::/0 via {router6}\n"))?;
    if node.layout == Layout::Bridge {
        let (gateway4, gateway6) = plan.gateway();
        let bridge = &node.bridge;
        // A hardware address of its own, else the bridge takes its ports' and the pods' neighbour caches go stale.
        node.ip(&format!(
            "link add {bridge} address {mac} type bridge forward_delay 0 stp_state 0\n\
             addr add {gateway4}/24 dev {bridge}\n\
             addr add {gateway6}/64 dev {bridge} nodad\n\
             link set {bridge} up\n",
            mac = hardware_address(gateway4),
        ))?;
    }
    Ok(())
}

/// Gives packets of pods to the outside the node's address, in nft tables of its own.
pub(super) fn masquerade(node: &Node) -> Result<()> {
    let (pods4, pods6) = node.plan().pod_cidrs();
    let (services4, services6) = node.plan().service_cidrs();
    let table = |family: &str, pods: &str, services: &str| {
        format!(
            "table {family} lab-masquerade {{\n\
               chain postrouting {{\n\
                 type nat hook postrouting priority srcnat; policy accept;\n\
                 {family} saddr {pods} {family} daddr != {{ {pods}, {services} }} masquerade\n\
               }}\n\
             }}\n"
        )
    };
    let script = table("ip", &pods4, &services4) + &table("ip6", &pods6, &services6);
    node.feed(&["nft", "-f", "-"], &script).map(drop)
}

/// Name for the host side of a new pod's veth, as the layout's CNI would name it.
pub(super) fn host_interface_name(layout: Layout) -> String {
    match layout {
        Layout::Bridge => format!("veth{}", random::hex(8)),
        // 15 characters, the most that IFNAMSIZ allows.
        Layout::HostRouted => format!("cali{}", random::hex(11)),
    }
}

/// Wires a pod: `eth0` in its namespace, the other end in the node's.
pub(super) fn pod(node: &Node, place: &Place, host: &str, (v4, v6): (Ipv4Addr, std::net::Ipv6Addr)) -> Result<()> {
    without_dad(place.netns())?;
    let namespace = place.netns().name();
    let mac = hardware_address(v4);
    match node.layout {
        Layout::Bridge => {
            let (gateway4, gateway6) = node.plan().gateway();
            node.ip(&format!(
                "link add {host} type veth peer name eth0 address {mac} netns {namespace}\n\
                 link set {host} master {bridge}\n\
                 link set {host} type bridge_slave hairpin on\n\
                 link set {host} up\n",
                bridge = node.bridge,
            ))?;
            place.ip(&format!(
                "link set lo up\n\
                 addr add {v4}/24 dev eth0\n\
                 addr add {v6}/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via {gateway4}\n\
                 route add ::/0 via {gateway6}\n"
            ))?;
            // The bridge has carrier from its first port on.
            node.netns().wait_for_ipv6(&node.bridge)?;
        }
        Layout::HostRouted => {
            let (host_mac, host_link_local) = HOST_SIDE;
            node.ip(&format!(
                "link add {host} address {host_mac} type veth peer name eth0 address {mac} netns {namespace}\n\
                 link set {host} up\n\
                 route add {v4}/32 dev {host} scope link\n\
                 route add {v6}/128 dev {host}\n"
            ))?;
            set(
                node.netns(),
                &[
                    (&format!("net/ipv4/conf/{host}/proxy_arp"), "1"),
                    // The kernel waits up to 0.8 s before it answers for somebody else; Calico sets this too.
                    (&format!("net/ipv4/neigh/{host}/proxy_delay"), "0"),
                ],
            )?;
            place.ip(&format!(
                "link set lo up\n\
                 addr add {v4}/32 dev eth0\n\
                 addr add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add {POINT_TO_POINT_GATEWAY} dev eth0 scope link\n\
                 route add default via {POINT_TO_POINT_GATEWAY} dev eth0\n\
                 route add ::/0 via {host_link_local} dev eth0\n"
            ))?;
            node.netns().wait_for_ipv6(host)?;
        }
    }
    place.netns().wait_for_ipv6("eth0")
}

/// A hardware address that follows from the IPv4 address, as older CNI plugins chose it: a pod that takes over an
/// address does not have to wait for its neighbours' caches.
fn hardware_address(v4: Ipv4Addr) -> String {
    let [a, b, c, d] = v4.octets();
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
