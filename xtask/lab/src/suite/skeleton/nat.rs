//! Packets whose addresses are translated on their way: still one event, with what was asked for and what was chosen.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::suite::json::{drop_to, flow, must, pod, service, text};
use crate::suite::traffic::{BLOCKED, forbid, forbidden, send};
use crate::suite::{Context, Outcome, Stage};

/// A connection to a `ClusterIP`, dropped in FORWARD after its destination was translated.
pub fn dnat_dropped(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", "tcp dport 8080")?;
    let addresses = [stage.web_service.at("http"), stage.web_service.at6("http")];
    for (number, to) in addresses.into_iter().flatten().enumerate() {
        let refused = stage.client.tcp_connect(to, Duration::from_millis(300));
        ensure!(refused.is_err(), "the rule does not drop");
        let sent = usize::try_from(forbidden(&stage.node)?)?;
        ensure!(sent == number + 1, "{sent} packets instead of {}", number + 1);
        let event = stage.one(&json!({"kind": "drop", "nat": {"original": flow("tcp", to)}}))?;
        let backend = stage.web.iter().find(|pod| pod.name() == text(&event, "/nat/backend/pod/name"));
        let backend = backend.with_context(|| format!("no backend in {event}"))?;
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "destination": pod(backend),
                "nat": {"service": service(&stage.web_service, "http"), "backend": pod(backend)},
                "flow": {"destination_ip": backend.ips()[usize::from(to.is_ipv6())], "destination_port": 8080},
                "drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD", "tcp_flags": "SYN"},
            }),
        )?;
    }
    // One packet each and one event each, whatever they say of themselves.
    stage.expect(2, &json!({"kind": "drop", "drop": {"reason": "NETFILTER_DROP"}}))?;
    stage.finish("Service and backend named, one event each")
}

fn internet(stage: &Stage) -> [SocketAddr; 2] {
    let (v4, v6) = stage.node.plan().internet();
    [(v4, BLOCKED).into(), (v6, BLOCKED).into()]
}

/// To the internet, dropped in FORWARD once the route to the uplink was chosen.
pub fn to_internet_dropped(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", &format!("oifname {} udp dport {BLOCKED}", stage.node.uplink()))?;
    for to in internet(&stage) {
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "destination": {"unknown": "unknown_ip"},
                "drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"},
            }),
        )?;
        let out = event["points"].as_array().into_iter().flatten().any(|p| text(p, "/out_interface") == "eth0");
        ensure!(out, "no point names the uplink: {event}");
    }
    stage.finish("the uplink is named as the way out")
}

/// To the internet, dropped when it already had the node's address as its source.
pub fn masqueraded_dropped(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    // Priorities after srcnat (100) are allowed for filter chains.
    forbid(&stage.node, "postrouting", "200", &format!("udp dport {BLOCKED}"))?;
    for to in internet(&stage) {
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        let index = usize::from(to.is_ipv6());
        let (node4, node6) = stage.node.plan().node();
        let node = [node4.to_string(), node6.to_string()];
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "flow": {"source_ip": node[index]},
                "nat": {"original": {"source_ip": stage.client.ips()[index]}, "service": null},
                "drop": {"reason": "NETFILTER_DROP", "hook": "POSTROUTING"},
            }),
        )?;
    }
    stage.finish("the pod is named behind the node's address")
}
