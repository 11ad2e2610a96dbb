//! Connections to ports on which nothing listens, between all kinds of ends.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::connection::refuse;
use super::remote::far;
use super::want::{any_port, names_the_drop, node, one_reset, outside, reset};
use crate::suite::json::{must, pod, service};
use crate::suite::traffic::both;
use crate::suite::{Context, Outcome, Stage};
use crate::{Place, Service};

/// A TCP port on which nothing listens.
pub const CLOSED: u16 = 6379;

/// A refusal as both ends' kernels tell it.
pub fn refusal() -> Value {
    json!({
        "cause": "refused", "reason": "NO_SOCKET", "opener": "destination", "source_state": null,
        "destination_state": "SYN_SENT", "tcp_flags": "RST,ACK",
    })
}

/// A refusal of which only one end is in view: fields that the other would tell are absent.
fn without(field: &str) -> Value {
    let mut refusal = refusal();
    refusal[field] = Value::Null;
    refusal
}

/// One refused connection from a place to an address: one event, from the refuser to the opener.
fn refused(stage: &Stage, from: &Place, ip: IpAddr, to: SocketAddr, ends: [Value; 2], want: &Value) -> Result<Value> {
    refuse(from, to)?;
    let event = one_reset(stage, &reset(to, any_port(ip)), ends, want)?;
    names_the_drop(stage, &event, to)?;
    Ok(event)
}

/// The node's addresses with that port.
pub fn node_at(stage: &Stage, port: u16) -> [SocketAddr; 2] {
    let (v4, v6) = stage.node.plan().node();
    [(v4, port).into(), (v6, port).into()]
}

/// From pod to pod.
pub fn refused_between_pods(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for (ip, to) in stage.client.ips().into_iter().zip(both(&stage.db, CLOSED)) {
        refused(&stage, &stage.client, ip, to, [pod(&stage.db), pod(&stage.client)], &refusal())?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: who refused whom, opener, states")
}

/// From a pod to a Service's address: the backend refuses.
pub fn refused_behind_service(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let broken = Service::new("shop", "cache").select("app", "db").tcp("redis", 6380, CLOSED);
    let broken = stage.node.add_service(broken)?;
    stage.sync()?;
    for (to, backend) in [broken.at("redis"), broken.at6("redis")].into_iter().zip(both(&stage.db, CLOSED)) {
        let to = to.context("the Service's address")?;
        refuse(&stage.client, to)?;
        let ip = stage.client.ips()[usize::from(to.is_ipv6())];
        let ends = [pod(&stage.db), pod(&stage.client)];
        let event = one_reset(&stage, &reset(backend, any_port(ip)), ends, &refusal())?;
        names_the_drop(&stage, &event, backend)?;
        must(
            &event,
            &json!({"nat": {
                "original": {"source_ip": ip, "destination_ip": to.ip(), "destination_port": to.port()},
                "service": service(&broken, "redis"), "backend": pod(&stage.db),
            }}),
        )?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("Service and backend named, one event each")
}

/// From a pod to the node.
pub fn refused_by_node(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for (ip, to) in stage.client.ips().into_iter().zip(node_at(&stage, CLOSED)) {
        refused(&stage, &stage.client, ip, to, [node(), pod(&stage.client)], &refusal())?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("the node refuses the pod")
}

/// From the node to a pod, as the kubelet's probes go.
pub fn refused_to_node(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (v4, v6) = stage.node.plan().gateway();
    for (ip, to) in [IpAddr::from(v4), v6.into()].into_iter().zip(both(&stage.db, CLOSED)) {
        refused(&stage, &stage.node, ip, to, [pod(&stage.db), node()], &refusal())?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("the pod refuses the node")
}

/// From outside to a pod.
pub fn refused_from_outside(context: &Context) -> Result<Outcome> {
    let stage = far(context)?;
    let (pods4, pods6) = stage.node.plan().pod_cidrs();
    let (node4, node6) = stage.node.plan().node();
    stage.node.internet().ip(&format!("route add {pods4} via {node4}\nroute add {pods6} via {node6}\n"))?;
    let (v4, v6) = stage.node.plan().router();
    for (ip, to) in [IpAddr::from(v4), v6.into()].into_iter().zip(both(&stage.db, CLOSED)) {
        let ends = [pod(&stage.db), outside()];
        refused(&stage, stage.node.internet(), ip, to, ends, &without("destination_state"))?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("the pod refuses somebody outside")
}

/// From a pod, behind the node's address, to somebody outside.
pub fn refused_outside(context: &Context) -> Result<Outcome> {
    let stage = far(context)?;
    let (v4, v6) = stage.node.plan().internet();
    for (ip, to) in stage.client.ips().into_iter().zip([SocketAddr::from((v4, CLOSED)), (v6, CLOSED).into()]) {
        refuse(&stage.client, to)?;
        let like = json!({"kind": "reset", "flow": {"source_ip": to.ip(), "source_port": to.port()}});
        let ends = [outside(), pod(&stage.client)];
        let event = one_reset(&stage, &like, ends, &without("reason"))?;
        must(&event, &json!({"nat": {"original": {"source_ip": ip, "destination_ip": to.ip()}, "service": null}}))?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("somebody outside refuses the pod, which is named behind the node's address")
}
