//! A packet that the kernel drops is one event that says who, why and where.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::Backend;
use crate::suite::json::{drop_to, must, number, pod, text};
use crate::suite::traffic::{BLOCKED, both, forbid, forbidden, send};
use crate::suite::{Context, Outcome, Stage};

/// Sends a datagram from `shop/checkout` to `shop/db-0` over each protocol; each must be one event like this.
pub(super) fn client_to_db(stage: &Stage, want: &Value) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for to in both(&stage.db, BLOCKED) {
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(
            &event,
            &json!({
                "kind": "drop", "severity": "problem", "node": "node-a", "count": 1,
                "source": pod(&stage.client), "destination": pod(&stage.db),
                "flow": {"source_ip": stage.client.ips()[usize::from(to.is_ipv6())]},
            }),
        )?;
        must(&event, want)?;
        events.push(event);
    }
    Ok(events)
}

/// By an nft rule in FORWARD.
pub fn drop_forward_nft(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let location = forward_nft(&stage)?;
    stage.finish(format!("IPv4 and IPv6, one event each, dropped in {location}"))
}

/// The same on a stage that is there: the events have the hook and the way to it. Where the kernel dropped them.
pub(super) fn forward_nft(stage: &Stage) -> Result<String> {
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let events = client_to_db(stage, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}))?;
    for event in &events {
        let first = json!({"at": "tcx-ingress", "interface": stage.client.host_interface()});
        must(event.pointer("/points/0").unwrap_or(&Value::Null), &first)?;
        let points: Vec<_> = event["points"].as_array().into_iter().flatten().map(|p| text(p, "/at")).collect();
        ensure!(points.contains(&"netfilter") && points.last() == Some(&"kfree_skb"), "points are {points:?}");
    }
    ensure!(forbidden(&stage.node)? == 2, "the rule counts {}", forbidden(&stage.node)?);
    Ok(text(&events[0], "/drop/location").to_owned())
}

fn by_iptables(context: &Context, backend: Backend) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for ipv6 in [false, true] {
        stage.node.iptables_with(backend, ipv6, &format!("-I FORWARD -p udp --dport {BLOCKED} -j DROP"))?;
    }
    let events = client_to_db(&stage, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}}))?;
    let location = text(&events[0], "/drop/location").to_owned();
    ensure!(!location.is_empty(), "no location in {}", events[0]);
    stage.finish(format!("dropped in {location}"))
}

/// By an iptables rule in `nf_tables`.
pub fn drop_iptables_nft(context: &Context) -> Result<Outcome> {
    by_iptables(context, Backend::Nft)
}

/// By an iptables rule of the older kind.
pub fn drop_iptables_legacy(context: &Context) -> Result<Outcome> {
    by_iptables(context, Backend::Legacy)
}

/// A datagram to a port that nobody serves.
pub fn drop_no_socket(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let inside = json!({
        "drop": {"reason": "NO_SOCKET", "hook": null}, "netns": stage.db.netns().inode(),
    });
    client_to_db(&stage, &inside)?;
    stage.finish("NO_SOCKET in the pod's namespace")
}

/// A datagram to an address that the node's routes forbid.
pub fn drop_no_route(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    stage.node.ip("route add unreachable 203.0.113.0/24\nroute add unreachable 2001:db8:1::/64\n")?;
    let mut reasons = Vec::new();
    for to in ["203.0.113.7:9999", "[2001:db8:1::7]:9999"] {
        let to: SocketAddr = to.parse()?;
        send(&stage.client, to)?;
        let event = stage.one(&drop_to("udp", to))?;
        must(
            &event,
            &json!({
                "source": pod(&stage.client), "destination": {"unknown": "unknown_ip"}, "drop": {"hook": null},
                "netns": stage.node.netns().inode(),
            }),
        )?;
        reasons.push(format!("{} ({})", text(&event, "/drop/reason"), text(&event, "/drop/location")));
    }
    // For IPv4 the kernel gives this one no reason; that it is `ip_error` that dropped it says the same.
    let [v4, v6] = &reasons[..] else { bail!("two reasons") };
    ensure!(v4.contains("NOROUTES") || v4 == "NOT_SPECIFIED (ip_error)", "the reason is {v4}");
    ensure!(v6.contains("NOROUTES"), "the reason is {v6}");
    stage.finish(reasons.join(", "))
}

/// A packet whose hops are used up at the node.
pub fn drop_ttl(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (v4, v6) = stage.node.plan().internet();
    let mut reasons = Vec::new();
    for to in [v4.to_string(), v6.to_string()] {
        stage.client.exec(&["ping", "-n", "-c1", "-W1", "-t1", &to])?;
        let event = stage.one(&json!({"kind": "drop", "flow": {"destination_ip": to}}))?;
        must(&event, &json!({"source": pod(&stage.client), "drop": {"hook": null}}))?;
        reasons.push(text(&event, "/drop/reason").to_owned());
    }
    ensure!(reasons.iter().all(|reason| reason == "IP_INHDR"), "reasons are {reasons:?}");
    stage.finish(reasons.join(", "))
}

/// Each SYN of a connection that does not come about is an event: as many as the rule counts.
pub fn tcp_retransmits_are_further_events(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", &format!("tcp dport {BLOCKED}"))?;
    let mut total = 0;
    for to in both(&stage.db, BLOCKED) {
        // The first retransmit comes after a second (RFC 6298 section 2.1).
        let refused = stage.client.tcp_connect(to, Duration::from_millis(1500));
        ensure!(refused.is_err(), "the rule does not drop");
        let sent = usize::try_from(forbidden(&stage.node)?)? - total;
        ensure!(sent >= 2, "only {sent} SYN in 1.5 s");
        total += sent;
        for event in stage.expect(sent, &drop_to("tcp", to))? {
            let want = json!({
                "source": pod(&stage.client), "destination": pod(&stage.db),
                "drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD", "tcp_flags": "SYN"},
            });
            must(&event, &want)?;
            ensure!(number(&event, "/count") == 1, "count in {event}");
        }
    }
    stage.finish(format!("{total} SYN, {total} events"))
}
