//! What events of these families have to say.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};

use crate::Pod;
use crate::suite::Stage;
use crate::suite::json::{must, pod};

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
    must(
        &event,
        &json!({
            "severity": "problem", "node": "node-a", "count": 1, "coalesced": null,
            "source": source, "destination": destination, "reset": detail,
        }),
    )?;
    Ok(event)
}

/// That the kernel also drops the SYN that is refused, or data for a connection that is not there, belongs to the reset.
pub fn also_dropped(stage: &Stage, to: SocketAddr) {
    stage.caused(json!({
        "kind": "drop",
        "flow": {"protocol": "tcp", "destination_ip": to.ip(), "destination_port": to.port()},
    }));
}
