//! What events of these families have to say.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::Pod;
use crate::suite::Stage;
use crate::suite::json::{must, pod, text};

/// The end of a flow that is the lab's node.
pub fn node() -> Value {
    json!({"node": "node-a", "pod": null, "service": null, "unknown": null})
}

/// The end of a flow that belongs to nobody known.
pub fn outside() -> Value {
    json!({"node": null, "pod": null, "service": null, "unknown": "unknown_ip"})
}

/// A flow between two addresses; a port of 0 is any.
pub fn flow(protocol: &str, from: SocketAddr, to: SocketAddr) -> Value {
    let mut flow = json!({"protocol": protocol, "source_ip": from.ip(), "destination_ip": to.ip()});
    for (name, port) in [("source_port", from.port()), ("destination_port", to.port())] {
        if port != 0 {
            flow[name] = json!(port);
        }
    }
    flow
}

/// The reset that `from` sent to `to`; a port of 0 is any.
pub fn reset(from: SocketAddr, to: SocketAddr) -> Value {
    json!({"kind": "reset", "flow": flow("tcp", from, to)})
}

/// Any port of an address.
pub fn any_port(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 0)
}

/// The failed packet that `from` sent to `to`; a port of 0 is any.
pub fn too_big(protocol: &str, from: SocketAddr, to: SocketAddr) -> Value {
    json!({"kind": "mtu", "flow": flow(protocol, from, to)})
}

/// What the error of the packet's IP version is called.
pub fn error_of(to: SocketAddr) -> &'static str {
    if to.is_ipv4() { "fragmentation_needed" } else { "packet_too_big" }
}

/// A packet that was too big on the way from one pod to another is one event that names both.
pub fn one_between(stage: &Stage, like: &Value, from: &Pod, to: &Pod, mtu: &Value) -> Result<Value> {
    let event = stage.one(like)?;
    must(
        &event,
        &json!({
            "severity": "problem", "node": "node-a", "count": 1, "coalesced": null,
            "source": pod(from), "destination": pod(to), "mtu": mtu,
        }),
    )?;
    Ok(event)
}

/// A reset is one event with these ends and this detail.
pub fn one_reset(stage: &Stage, like: &Value, ends: [Value; 2], detail: &Value) -> Result<Value> {
    let event = stage.one(like)?;
    let [source, destination] = ends;
    let mut detail = detail.clone();
    if stage.feature("reset reasons")?["state"] != "works"
        && let Some(reason) = detail.get_mut("reason")
    {
        *reason = Value::Null;
    }
    must(
        &event,
        &json!({
            "severity": "problem", "node": "node-a", "count": 1, "coalesced": null,
            "source": source, "destination": destination, "reset": detail,
        }),
    )?;
    Ok(event)
}

/// That the drop of the segment which a reset answers, for there is no socket, is told as evidence of it and as no failure.
pub fn names_the_drop(stage: &Stage, reset: &Value, to: SocketAddr) -> Result<()> {
    let like = json!({"kind": "drop", "flow": flow("tcp", any_port(reset_receiver(reset)?), to)});
    let ids = reset.get("evidence").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [id] = ids else { bail!("one drop should explain {reset}") };
    let drop = stage.events(&like)?.into_iter().find(|event| event.get("id") == Some(id));
    let drop = drop.with_context(|| format!("{id}, which explains {reset}, is no drop of its connection"))?;
    must(&drop, &json!({"severity": "info", "count": 1, "drop": {"reason": "NO_SOCKET", "answered": true}}))
}

/// Who got a reset: whose segment it answers.
fn reset_receiver(reset: &Value) -> Result<IpAddr> {
    Ok(text(reset, "/flow/destination_ip").parse()?)
}
