//! Packets that a router beyond this node cannot forward: its ICMP error, and whom it is about.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::too_big::{LENGTH, send_whole};
use super::want::{error_of, node, outside};
use crate::suite::json::{must, pod};
use crate::suite::{Context, Outcome, Stage};
use crate::{Node, Shop};

/// MTU of the router's narrow link.
const NARROW: u32 = 1300;
/// Destination port.
const PORT: u16 = 9000;

/// A stage whose "internet" the daemon cannot look into.
pub fn far(context: &Context) -> Result<Stage> {
    Stage::on(context, Shop::on(Node::builder().far_internet().build()?)?, |daemon| daemon)
}

/// Puts a link of a small MTU behind the router of the "internet"; returns addresses beyond it.
fn beyond(stage: &Stage) -> Result<[SocketAddr; 2]> {
    let internet = stage.node.internet();
    for (key, value) in [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")] {
        internet.netns().sysctl(key, value)?;
    }
    let (v4, v6) = stage.node.plan().beyond();
    internet.ip(&format!(
        "link add narrow mtu {NARROW} type veth peer name nowhere\n\
         link set nowhere up\n\
         link set narrow up\n\
         route add {v4}/32 dev narrow\n\
         route add {v6}/128 dev narrow\n"
    ))?;
    Ok([(v4, PORT).into(), (v6, PORT).into()])
}

/// The router's own addresses, IPv4 first.
fn routers(stage: &Stage) -> [String; 2] {
    let (v4, v6) = stage.node.plan().router();
    [v4.to_string(), v6.to_string()]
}

fn told(stage: &Stage, to: SocketAddr, icmp: &str) -> Value {
    let router = &routers(stage)[usize::from(to.is_ipv6())];
    json!({
        "cause": error_of(to), "next_hop_mtu": NARROW, "packet_length": LENGTH, "icmp": icmp,
        "reported_by_ip": router, "reported_by": {"pod": null, "node": null}, "interface": null,
    })
}

/// From a pod, behind the node's address: the error is about the pod's packet.
pub fn too_big_beyond_router(context: &Context) -> Result<Outcome> {
    let stage = far(context)?;
    for to in beyond(&stage)? {
        send_whole(&stage.client, to)?;
        let event = stage.one(&json!({"kind": "mtu", "flow": {"protocol": "udp", "destination_ip": to.ip()}}))?;
        must(
            &event,
            &json!({
                "severity": "problem", "count": 1, "source": pod(&stage.client), "destination": outside(),
                "mtu": told(&stage, to, "forwarded"), "drop": null,
            }),
        )?;
    }
    stage.expect(2, &json!({"kind": "mtu"}))?;
    stage.finish_settled("the pod and the router are named, one event each")
}

/// From the node itself (as from a pod with `hostNetwork`).
pub fn too_big_from_node(context: &Context) -> Result<Outcome> {
    let stage = far(context)?;
    for to in beyond(&stage)? {
        let from = send_whole(&stage.node, to).context("from the node")?;
        let event = stage.one(&json!({"kind": "mtu", "flow": {"protocol": "udp", "destination_ip": to.ip()}}))?;
        must(
            &event,
            &json!({
                "severity": "problem", "count": 1, "source": node(), "destination": outside(), "nat": null,
                "flow": {"source_ip": from.ip(), "source_port": from.port(), "destination_port": PORT},
                "mtu": told(&stage, to, "received"), "drop": null,
            }),
        )?;
    }
    stage.expect(2, &json!({"kind": "mtu"}))?;
    stage.finish_settled("the node and the router are named, one event each")
}
