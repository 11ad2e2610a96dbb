//! The netfilter hook that a packet was dropped in is named right.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::drops::client_to_db;
use crate::suite::json::{drop_to, must, pod};
use crate::suite::traffic::{BLOCKED, both, forbid, send};
use crate::suite::{Context, Outcome, Stage};

fn in_hook(hook: &str) -> Value {
    json!({"drop": {"reason": "NETFILTER_DROP", "hook": hook}})
}

/// In PREROUTING, on its way between two pods.
pub fn drop_prerouting(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "prerouting", "raw", &format!("udp dport {BLOCKED}"))?;
    client_to_db(&stage, &in_hook("PREROUTING"))?;
    stage.finish("hook PREROUTING")
}

/// In POSTROUTING, on its way between two pods.
pub fn drop_postrouting(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "postrouting", "mangle", &format!("udp dport {BLOCKED}"))?;
    client_to_db(&stage, &in_hook("POSTROUTING"))?;
    stage.finish("hook POSTROUTING")
}

/// In INPUT: the host's firewall against a pod.
pub fn drop_input(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "input", "filter", &format!("udp dport {BLOCKED}"))?;
    let (v4, v6) = stage.node.plan().node();
    for to in [SocketAddr::from((v4, BLOCKED)), SocketAddr::from((v6, BLOCKED))] {
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(&event, &in_hook("INPUT"))?;
        must(&event, &json!({"source": pod(&stage.client), "destination": {"node": "node-a", "pod": null}}))?;
    }
    stage.finish("hook INPUT, pod to node")
}

/// In OUTPUT: the node cannot reach a pod.
pub fn drop_output(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "output", "filter", &format!("udp dport {BLOCKED}"))?;
    for to in both(&stage.db, BLOCKED) {
        send(&stage.node, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(&event, &in_hook("OUTPUT"))?;
        must(&event, &json!({"source": {"node": "node-a", "pod": null}, "destination": pod(&stage.db)}))?;
    }
    stage.finish("hook OUTPUT, node to pod")
}
