//! Where names come from, and how it goes without.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::dns::kube_dns;
use super::drops::client_to_db;
use crate::suite::json::{drop_to, must, pod, service};
use crate::suite::traffic::{BLOCKED, ask, both, forbid, send};
use crate::suite::{Context, Outcome, Stage};
use crate::{Daemon, Layout, Shop};

/// Names from a file.
pub fn metadata_file(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    let file = shop.node.write_metadata()?;
    let daemon = Daemon::builder(&context.netobs).metadata_file(file).start(&shop.node)?;
    let stage = Stage::around(shop, daemon);
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    client_to_db(&stage, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}))?;
    ask(&stage.client, kube_dns(&stage)?[0], 9, "web.shop.svc.cluster.local")?;
    let event = stage.one(&json!({"kind": "dns", "dns": {"id": 9}}))?;
    must(
        &event,
        &json!({
            "source": pod(&stage.client), "destination": pod(&stage.dns),
            "nat": {"service": service(&stage.dns_service, "dns")},
        }),
    )?;
    must(&stage.status()?, &json!({"metadata": {"source": "file", "synced": true, "pods": 5}}))?;
    ensure!(stage.api.requests().is_empty(), "the API server was asked");
    stage.finish("pods, workloads, Service")
}

/// No names at all: UIDs by place, the rest as always.
pub fn no_metadata(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    let daemon = Daemon::builder(&context.netobs).arg("--no-metadata").start(&shop.node)?;
    let stage = Stage::around(shop, daemon);
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    for to in both(&stage.db, BLOCKED) {
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(
            &event,
            &json!({
                "drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"},
                "source": {"pod": null, "unknown": "no_metadata"}, "destination": {"pod": null},
            }),
        )?;
        let uid = format!("pod uid {}", stage.client.uid());
        let claims = event.pointer("/source/claims").map(ToString::to_string).unwrap_or_default();
        ensure!(claims.contains(&uid), "no claim names {uid}: {event}");
    }
    ask(&stage.client, kube_dns(&stage)?[0], 9, "web.shop.svc.cluster.local")?;
    let event = stage.one(&json!({"kind": "dns", "dns": {"id": 9}}))?;
    must(&event, &json!({"severity": "info", "dns": {"outcome": "answered"}}))?;
    stage.finish("events without names, pod UIDs by place")
}

/// The API server is away when the daemon starts and comes later.
pub fn api_server_away(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    shop.api.set_away(true)?;
    let daemon = Daemon::builder(&context.netobs).kubeconfig(shop.api.kubeconfig()).launch(&shop.node)?;
    let mut stage = Stage::around(shop, daemon);
    // The daemon's own attempts to reach it.
    stage.caused(drop_to("tcp", stage.api.address()));
    let port = stage.api.address().port();
    stage.caused(json!({"kind": "reset", "flow": {"source_port": port}, "reset": {"cause": "refused"}}));
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let end = std::time::Instant::now() + Duration::from_secs(15);
    // All but the names is there first.
    let answer = loop {
        if let Ok(answer) = stage.client().get("/readyz")
            && answer.json()?["waiting"].as_array().is_some_and(|waiting| waiting.len() == 1)
        {
            break answer;
        }
        ensure!(std::time::Instant::now() < end, "not up but for the names: {}", stage.daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(answer.status == 503, "readyz says {}", answer.status);
    let reason = answer.text();
    let like = drop_to("udp", stage.db.at(BLOCKED));
    send(&stage.client, stage.db.at(BLOCKED))?;
    let event = stage.one(&like)?;
    must(&event, &json!({"source": {"pod": null, "unknown": "no_metadata"}, "drop": {"hook": "FORWARD"}}))?;
    stage.api.set_away(false)?;
    let back = std::time::Instant::now();
    stage.daemon.wait_ready(Duration::from_secs(15))?;
    let back = back.elapsed();
    send(&stage.client, stage.db.at(BLOCKED))?;
    let event = &stage.expect(2, &like)?[1];
    must(event, &json!({"source": pod(&stage.client), "destination": pod(&stage.db)}))?;
    stage.finish(format!("waiting was {reason}; ready {:.1} s after it came back", back.as_secs_f64()))
}
