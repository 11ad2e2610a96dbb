//! Fragments of which some never come: whoever puts them together gives them up, and that is one event.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::want::{any_port, flow, node};
use crate::packet::udp_fragments;
use crate::suite::json::{must, number, pod, text};
use crate::suite::{Context, Outcome, Stage};
use crate::{Netns, Place};

/// Bytes of the datagram, which makes three fragments.
const DATAGRAM: usize = 4000;
/// Bytes of a fragment's part of it.
const PART: u16 = 1448;
/// Ports of the datagram.
const PORTS: (u16, u16) = (5555, 9000);

/// Fragments are given up after a second instead of 30 or 60.
fn impatient(netns: &Netns) -> Result<()> {
    for key in ["net.ipv4.ipfrag_time", "net.ipv6.ip6frag_time", "net.netfilter.nf_conntrack_frag6_timeout"] {
        netns.sysctl(key, "1")?;
    }
    Ok(())
}

/// Sends a datagram's fragments but one.
fn send_without(from: &Place, ends: (IpAddr, IpAddr), id: u32, missing: usize) -> Result<usize> {
    let (source, to) = (SocketAddr::new(ends.0, PORTS.0), SocketAddr::new(ends.1, PORTS.1));
    let parts = udp_fragments(source, to, &[7; DATAGRAM], id, PART).context("fragments")?;
    ensure!(parts.len() == 3, "{} fragments", parts.len());
    let sender = from.raw_sender(to)?;
    for (_, part) in parts.iter().enumerate().filter(|(index, _)| *index != missing) {
        sender.send(part)?;
    }
    Ok(parts.len() - 1)
}

/// For each protocol, once without the last fragment and once without the first, which alone has the ports.
fn lost(stage: &Stage, to: [IpAddr; 2], destination: &Value, icmp: impl Fn(bool, bool) -> Option<Value>) -> Result<()> {
    // Without a reason of their own, those of a packet that no interface is left of are not seen to be fragments.
    let each_is_seen = stage.feature("reason of lost fragments")?["state"] == "works";
    let mut id = 0x4e4f;
    for (from, to) in stage.client.ips().into_iter().zip(to) {
        for missing in [2, 0] {
            id += 1;
            let sent = send_without(&stage.client, (from, to), id, missing)?;
            let like = json!({"kind": "mtu", "mtu": {"fragment_id": id}});
            let event = stage.one(&like)?;
            must(
                &event,
                &json!({
                    "severity": "problem", "source": pod(&stage.client), "destination": destination,
                    "flow": flow("udp", any_port(from), any_port(to)),
                    "mtu": {"cause": "reassembly_failed", "next_hop_mtu": null},
                }),
            )?;
            let count = number(&event, "/count") as usize;
            ensure!(count == sent || !each_is_seen && (1..sent).contains(&count), "{sent} were sent: {event}");
            let has_ports = missing != 0;
            let ports = if has_ports { json!([PORTS.0, PORTS.1]) } else { json!([null, null]) };
            must(&event, &json!({"flow": {"source_port": ports[0], "destination_port": ports[1]}}))?;
            if let Some(want) = icmp(to.is_ipv6(), has_ports) {
                must(&event, &json!({"mtu": want}))?;
            }
            ensure!(!text(&event, "/summary").is_empty(), "no sentence in {event}");
        }
    }
    stage.expect(4, &json!({"kind": "mtu"}))?;
    Ok(())
}

/// Between two pods, given up by conntrack of the node, which puts packets together before it looks at them.
pub fn fragments_lost_on_node(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    impatient(stage.node.netns())?;
    lost(&stage, stage.db.ips(), &pod(&stage.db), |_, _| None)?;
    stage.finish_settled("count and both ends, with and without the first fragment")
}

/// Given up by the receiving pod, past a node that does not track them. It tells the sender if it has the first one (RFC
/// 792, RFC 4443 section 3.3).
pub fn fragments_lost_in_pod(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    stage.node.nft(
        "table inet suite-untracked {\n chain prerouting {\n type filter hook prerouting priority -450; policy accept;\n \
         meta l4proto udp notrack\n ip6 nexthdr 44 notrack\n }\n}\n",
    )?;
    impatient(stage.db.netns())?;
    // The node's rules for Services drop an error about a packet that conntrack was told to ignore.
    stage.caused(
        json!({"kind": "drop", "source": pod(&stage.db), "drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}),
    );
    let by_the_pod = json!({"icmp": "forwarded", "reported_by": pod(&stage.db)});
    let nobody = json!({"icmp": null, "reported_by": null});
    lost(&stage, stage.db.ips(), &pod(&stage.db), |_, first| {
        Some(if first { by_the_pod.clone() } else { nobody.clone() })
    })?;
    stage.finish_settled("count and both ends, with the pod's own ICMP error where there is one")
}

/// To the node itself.
pub fn fragments_lost_for_node(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    impatient(stage.node.netns())?;
    let (v4, v6) = stage.node.plan().node();
    let by_the_node = json!({"icmp": "sent", "reported_by": node()});
    let nobody = json!({"icmp": null, "reported_by": null});
    lost(&stage, [v4.into(), v6.into()], &node(), |_, first| {
        Some(if first { by_the_node.clone() } else { nobody.clone() })
    })?;
    stage.finish_settled("count and both ends, with the node's ICMP error where there is one")
}
