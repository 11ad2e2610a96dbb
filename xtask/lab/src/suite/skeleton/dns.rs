//! DNS over UDP: one event per exchange, with who asked whom for what and what came of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::suite::json::{drop_to, must, pod, service, text};
use crate::suite::traffic::{ask, forbid, question, socket};
use crate::suite::{Context, Outcome, Stage};
use crate::{DnsServer, PodSpec, Service};

/// Both addresses of the cluster's DNS service.
pub(super) fn kube_dns(stage: &Stage) -> Result<[SocketAddr; 2]> {
    let at = |address: Option<SocketAddr>| address.context("kube-dns has no address");
    Ok([at(stage.dns_service.at("dns"))?, at(stage.dns_service.at6("dns"))?])
}

/// The event of a question from `shop/checkout`: exactly one, from this socket, through this service.
fn exchange(stage: &Stage, id: u16, from: SocketAddr, to: SocketAddr, want: &Value) -> Result<Value> {
    let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
    must(
        &event,
        &json!({
            "source": pod(&stage.client), "count": 1,
            "flow": {
                "protocol": "udp", "source_ip": from.ip(), "source_port": from.port(),
                "destination_ip": to.ip(), "destination_port": to.port(),
            },
        }),
    )?;
    must(&event, want)?;
    Ok(event)
}

fn through_kube_dns(stage: &Stage) -> Value {
    json!({
        "destination": pod(&stage.dns),
        "nat": {"service": service(&stage.dns_service, "dns"), "backend": pod(&stage.dns)},
    })
}

fn latency(event: &Value) -> Result<f64> {
    let latency = event.pointer("/dns/latency_ms").and_then(Value::as_f64);
    let latency = latency.with_context(|| format!("no latency in {event}"))?;
    ensure!(latency > 0.0 && latency < 1000.0, "latency {latency} ms in {event}");
    Ok(latency)
}

fn answered(context: &Context, name: &str, severity: &str, dns: &Value) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let mut latencies = Vec::new();
    for (id, to) in (4711..).zip(kube_dns(&stage)?) {
        let (from, answer) = ask(&stage.client, to, id, name)?;
        ensure!(answer.is_some(), "no answer from {to}");
        let event = exchange(&stage, id, from, to, &through_kube_dns(&stage))?;
        must(&event, &json!({"severity": severity, "dns": {"name": format!("{name}."), "qtype": "A"}}))?;
        must(&event, &json!({"dns": dns}))?;
        latencies.push(format!("{:.2} ms", latency(&event)?));
    }
    stage.finish(format!("latency {}", latencies.join(", ")))
}

/// A name with an answer.
pub fn dns_ok(context: &Context) -> Result<Outcome> {
    let dns = json!({"outcome": "answered", "rcode": "NOERROR", "answers": 1, "waited_ms": null});
    answered(context, "web.shop.svc.cluster.local", "info", &dns)
}

/// A name that does not exist.
pub fn dns_nxdomain(context: &Context) -> Result<Outcome> {
    answered(context, "wbe.shop.svc.cluster.local", "problem", &json!({"outcome": "failed", "rcode": "NXDOMAIN"}))
}

/// A zone that the server cannot serve.
pub fn dns_servfail(context: &Context) -> Result<Outcome> {
    answered(context, "www.broken.test", "problem", &json!({"outcome": "failed", "rcode": "SERVFAIL"}))
}

/// An answer that does not fit into a datagram, from a second DNS server, with dig.
pub fn dns_truncated(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let big = stage.node.add_pod(PodSpec::new("kube-system", "big-dns"))?;
    let records = format!("large 5 TXT {}", "\"0123456789012345678901234567890123456789\" ".repeat(20));
    let _server = DnsServer::start(&stage.node, &big, &records)?;
    let behind = Service::new("kube-system", "big-dns").udp("dns", 53, 53);
    let behind = stage.node.add_service(behind)?;
    stage.sync()?;
    for to in [behind.at("dns"), behind.at6("dns")].into_iter().flatten() {
        let cut = stage.client.dig(to.ip(), "large.cluster.local", "TXT", &["+ignore"])?;
        ensure!(cut.text.contains(" tc"), "not truncated: {}", cut.text);
        let id = cut.id.context("dig got no id")?;
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "destination": pod(&big), "nat": {"service": service(&behind, "dns")},
                "dns": {"name": "large.cluster.local.", "qtype": "TXT", "outcome": "truncated", "rcode": "NOERROR"},
            }),
        )?;
        latency(&event)?;
    }
    stage.finish("cut answers behind a second DNS Service")
}

/// A server that takes questions and never answers.
pub fn dns_unanswered(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::with(context, |daemon| daemon.arg("--dns-timeout-ms").arg("700"))?;
    let silent = stage.node.add_pod(PodSpec::new("kube-system", "silent"))?;
    stage.keep(silent.udp_silent(53)?);
    let behind = stage.node.add_service(Service::new("kube-system", "silent").udp("dns", 53, 53))?;
    stage.sync()?;
    for (id, to) in (815..).zip([behind.at("dns"), behind.at6("dns")].into_iter().flatten()) {
        let asking = socket(&stage.client, to)?;
        let question = question(id, "web.shop.svc.cluster.local", 28);
        asking.send(&question)?;
        std::thread::sleep(Duration::from_millis(200));
        asking.send(&question)?;
        let event = exchange(
            &stage,
            id,
            asking.local_addr()?,
            to,
            &json!({
                "severity": "problem", "destination": pod(&silent), "nat": {"service": service(&behind, "dns")},
                "dns": {
                    "name": "web.shop.svc.cluster.local.", "qtype": "AAAA", "outcome": "unanswered", "rcode": null,
                    "latency_ms": null, "attempts": 2,
                },
            }),
        )?;
        let waited = event.pointer("/dns/waited_ms").and_then(Value::as_f64).unwrap_or_default();
        ensure!((650.0..2000.0).contains(&waited), "waited {waited} ms in {event}");
    }
    stage.finish("asked twice each, told once each")
}

/// A question that a rule drops: the drop is evidence for the missing answer.
pub fn dns_question_dropped(context: &Context) -> Result<Outcome> {
    let stage = Stage::with(context, |daemon| daemon.arg("--dns-timeout-ms").arg("700"))?;
    forbid(&stage.node, "forward", "filter", "udp dport 53")?;
    for (id, to) in (1234..).zip(kube_dns(&stage)?) {
        let (from, answer) = ask(&stage.client, to, id, "web.shop.svc.cluster.local")?;
        ensure!(answer.is_none(), "the rule does not drop");
        let index = usize::from(to.is_ipv6());
        let dropped = stage.one(&drop_to("udp", SocketAddr::new(stage.dns.ips()[index], 53)))?;
        must(&dropped, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}))?;
        must(&dropped, &through_kube_dns(&stage))?;
        let want = json!({"dns": {"outcome": "unanswered", "name": "web.shop.svc.cluster.local."}});
        let event = exchange(&stage, id, from, to, &want)?;
        must(&event, &json!({"nat": {"service": service(&stage.dns_service, "dns")}}))?;
        must(&event, &json!({"evidence": [text(&dropped, "/id")]}))?;
    }
    stage.finish("the missing answer links the drop")
}

/// Without a Service between.
pub fn dns_directly_to_pod_ip(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for ip in stage.dns.ips() {
        let answer = stage.client.dig(ip, "web.shop.svc.cluster.local", "A", &[])?;
        let id = answer.id.with_context(|| format!("dig: {}", answer.text))?;
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
        must(
            &event,
            &json!({
                "severity": "info", "source": pod(&stage.client), "destination": pod(&stage.dns), "nat": null,
                "dns": {"outcome": "answered", "qtype": "A", "name": "web.shop.svc.cluster.local."},
            }),
        )?;
        latency(&event)?;
    }
    stage.finish("dig at the pod's addresses")
}

/// At a server in the internet, behind masquerade: the client is still the pod.
pub fn dns_to_internet(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (v4, v6) = stage.node.plan().internet();
    let stop = AtomicBool::new(false);
    for (id, to) in (99..).zip([SocketAddr::from((v4, 53)), SocketAddr::from((v6, 53))]) {
        let server = stage.node.internet().udp_socket(to)?;
        server.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (from, answer) = std::thread::scope(|scope| {
            scope.spawn(|| refuse(&server, &stop));
            let asked = ask(&stage.client, to, id, "www.example.com");
            stop.store(true, Ordering::Release);
            asked
        })?;
        stop.store(false, Ordering::Release);
        ensure!(answer.is_some(), "no answer from the internet");
        let want = json!({
            "destination": {"unknown": "unknown_ip"},
            "dns": {"outcome": "failed", "rcode": "REFUSED", "name": "www.example.com."},
        });
        latency(&exchange(&stage, id, from, to, &want)?)?;
    }
    stage.finish("the client is named as the pod")
}

/// A server that answers each question with REFUSED (RFC 1035 section 4.1.1).
fn refuse(server: &std::net::UdpSocket, stop: &AtomicBool) {
    let mut message = [0; 512];
    while !stop.load(Ordering::Acquire) {
        if let Ok((length, from)) = server.recv_from(&mut message) {
            message[2] |= 0x80;
            message[3] = 0x85;
            // A client that is gone has its answer already.
            let _ = server.send_to(&message[..length], from);
        }
    }
}
