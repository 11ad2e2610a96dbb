//! Names are those of the time of the packet, and of the true sender.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::PodSpec;
use crate::suite::json::{drop_to, must, pod, text};
use crate::suite::traffic::{BLOCKED, both, forbid, send};
use crate::suite::{Context, Outcome, Stage};

/// The name at an end must be this one, or none.
fn named_or_unknown(event: &Value, end: &str, name: &str) -> Result<bool> {
    let found = text(event, &format!("/{end}/pod/name"));
    ensure!(found.is_empty() || found == name, "{end} is {found} instead of {name} or nobody: {event}");
    Ok(!found.is_empty())
}

/// A pod goes and another has its address at once: packets before belong to the one, packets after to the other.
pub fn ip_reused(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", "udp dport 9999-10100")?;
    let mut old = stage.node.add_pod(PodSpec::new("shop", "tenant-0").deployment("tenant"))?;
    stage.api.sync_from(&stage.node);
    stage.status_when("the pod is covered", std::time::Duration::from_secs(2), |status| {
        status["coverage"].as_array().is_some_and(|pods| pods.iter().any(|pod| pod["pod"] == "tenant-0"))
    })?;
    let mut named = [0, 0];
    let mut port = BLOCKED;
    // One packet to the pod and one from it, at ports of their own.
    let mut exchange = |stage: &Stage, tenant: &crate::Pod| -> Result<[bool; 2]> {
        port += 2;
        let (to, from) = (tenant.at(port), stage.client.at(port + 1));
        send(&stage.client, to)?;
        send(tenant, from)?;
        let to = stage.one(&drop_to("udp", to))?;
        let from = stage.one(&drop_to("udp", from))?;
        must(&to, &json!({"source": pod(&stage.client)}))?;
        Ok([named_or_unknown(&to, "destination", tenant.name())?, named_or_unknown(&from, "source", tenant.name())?])
    };
    ensure!(exchange(&stage, &old)? == [true, true], "the first pod is not named");
    for round in 1..4 {
        let name = format!("tenant-{round}");
        let new = stage.node.replace_pod(&old, PodSpec::new("shop", &name).deployment("tenant"))?;
        // In the first and last round the API server tells of it at once, in the second it is late.
        if round != 2 {
            stage.api.sync_from(&stage.node);
        }
        for (count, is_named) in named.iter_mut().zip(exchange(&stage, &new)?) {
            *count += usize::from(is_named);
        }
        stage.api.sync_from(&stage.node);
        old = new;
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let settled = exchange(&stage, &old)?;
    ensure!(settled == [true, true], "after three seconds the pod is not named: {settled:?}");
    stage.finish(format!(
        "3 changes; at once after them the receiver was named {} times, the sender {} times, never wrongly",
        named[0], named[1]
    ))
}

/// A packet with another pod's source address.
pub fn spoofed_source(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let victim = stage.web.first().context("a web pod")?;
    for (ip, to) in victim.ips().into_iter().zip(both(&stage.db, BLOCKED)) {
        stage.client.send_spoofed_udp(SocketAddr::new(ip, 1234), to, b"not mine")?;
        let event = stage.one(&drop_to("udp", to))?;
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "destination": pod(&stage.db),
                "flow": {"source_ip": ip, "source_port": 1234},
            }),
        )?;
        must(&event, &json!({"source": {"ip_mismatch": true}}))?;
        let claims = event.pointer("/source/claims").map(ToString::to_string).unwrap_or_default();
        ensure!(claims.contains(&victim.full_name()), "the claim by address is missing: {claims}");
    }
    stage.finish("the true sender by place, the mismatch shown")
}
