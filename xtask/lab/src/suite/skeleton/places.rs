//! Interfaces are found by what they are, and followed as they come, go and change their names.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::dns::kube_dns;
use super::drops::client_to_db;
use super::neighbours::names_are_seen;
use crate::suite::json::{must, pod, text};
use crate::suite::traffic::{BLOCKED, ask, forbid};
use crate::suite::{Context, Outcome, Stage};
use crate::{Layout, PodSpec, Shop};

/// How soon a change must be seen.
const SOON: Duration = Duration::from_secs(1);

fn interface<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["interfaces"].as_array()?.iter().find(|interface| interface["name"] == name)
}

fn is_observed(status: &Value, name: &str) -> bool {
    interface(status, name).is_some_and(|i| i["kind"] == "pod" && i["attached"] == json!(["ingress", "egress"]))
}

/// A pod's interface is observed within a second of its coming, under a new name too, and forgotten when it goes.
pub fn follow_interfaces(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let guest = stage.node.add_pod(PodSpec::new("shop", "guest"))?;
    let name = guest.host_interface();
    let came = Instant::now();
    stage.status_when("the new interface is observed", SOON, |status| is_observed(status, name))?;
    let came = came.elapsed();
    stage.api.sync_from(&stage.node);
    stage.status_when("the new pod is known", SOON, |status| {
        let pods = status["coverage"].as_array().into_iter().flatten();
        pods.into_iter().any(|covered| covered["pod"] == "guest" && covered["interface"] == name)
    })?;
    let [dns4, dns6] = kube_dns(&stage)?;
    let asked = |id: u16, to| -> Result<()> {
        ask(&guest, to, id, "web.shop.svc.cluster.local")?;
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
        must(&event, &json!({"source": pod(&guest), "destination": pod(&stage.dns)}))
    };
    asked(41, dns4)?;
    stage.node.ip(&format!("link set {name} down\nlink set {name} name renamed0\nlink set renamed0 up\n"))?;
    stage.status_when("the interface has another name", SOON, |status| {
        is_observed(status, "renamed0") && interface(status, name).is_none()
    })?;
    // The link's own IPv6 work (neighbour discovery) begins anew.
    std::thread::sleep(Duration::from_millis(300));
    asked(42, dns4)?;
    asked(43, dns6)?;
    stage.node.ip("link delete renamed0\n")?;
    stage.status_when("the interface is gone", SOON, |status| interface(status, "renamed0").is_none())?;
    stage.node.remove_pod(&guest)?;
    stage.finish(format!("observed after {} ms", came.as_millis()))
}

/// No bridge: host routes and veths with random names.
pub fn host_routed(context: &Context) -> Result<Outcome> {
    let stage = Stage::on(context, Shop::start(Layout::HostRouted)?, |daemon| daemon)?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    for event in client_to_db(&stage, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}))? {
        let first = json!({"at": "tcx-ingress", "interface": stage.client.host_interface()});
        must(event.pointer("/points/0").unwrap_or(&Value::Null), &first)?;
    }
    names_are_seen(&stage, 7)?;
    let status = stage.status()?;
    let kinds: Vec<_> = status["interfaces"].as_array().into_iter().flatten().map(|i| text(i, "/kind")).collect();
    ensure!(kinds.iter().filter(|kind| **kind == "pod").count() == 5, "kinds are {kinds:?}");
    stage.finish("drops and DNS over /32 routes")
}
