//! Others that use the same hooks: they neither hide packets from the daemon nor are they disturbed by it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::dns::kube_dns;
use super::drops::client_to_db;
use crate::suite::json::{must, pod, text};
use crate::suite::traffic::{BLOCKED, ask, forbid, forbidden};
use crate::suite::{Context, Outcome, Stage};
use crate::{Daemon, Direction, Layout, Position, Shop};

/// How long others may stay in front of the daemon's programs: it looks every ten seconds.
pub(super) const AGAIN: Duration = Duration::from_secs(12);

/// Asks for a name over both protocols; each must be one event, met first at the client's interface.
pub(super) fn names_are_seen(stage: &Stage, first_id: u16) -> Result<()> {
    for (id, to) in (first_id..).zip(kube_dns(stage)?) {
        let (_, answer) = ask(&stage.client, to, id, "web.shop.svc.cluster.local")?;
        ensure!(answer.is_some(), "no answer from {to}");
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
        must(
            &event,
            &json!({
                "severity": "info", "source": pod(&stage.client), "destination": pod(&stage.dns),
                "dns": {"outcome": "answered"},
            }),
        )?;
        let first = json!({"at": "tcx-ingress", "interface": stage.client.host_interface()});
        must(event.pointer("/points/0").unwrap_or(&Value::Null), &first)?;
    }
    Ok(())
}

/// Foreign tcx programs that return `TC_ACT_OK`, which ends the chain: before the daemon came, and before its own.
pub fn foreign_tcx_ok(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    let interface = shop.client.host_interface().to_owned();
    let attach = |node: &crate::Node, position| -> Result<Vec<_>> {
        let both = [Direction::Ingress, Direction::Egress];
        both.into_iter().map(|direction| node.attach_foreign_program(&interface, direction, position)).collect()
    };
    let earlier = attach(&shop.node, Position::First);
    let stage = Stage::on(context, shop, |daemon| daemon)?;
    let Ok(_earlier) = earlier else {
        let feature = stage.feature("interfaces")?;
        ensure!(feature["by"] == "clsact" && feature["state"] == "degraded", "no tcx ({earlier:?}), but {feature}");
        names_are_seen(&stage, 1)?;
        return stage.finish(format!("no tcx here, as the daemon says: {}", text(&feature, "/why")));
    };
    names_are_seen(&stage, 1)?;
    let _later = attach(&stage.node, Position::Last)?;
    names_are_seen(&stage, 3)?;
    // In front of ours: the daemon notices, within its ten seconds, and goes first again.
    let _in_front = attach(&stage.node, Position::First)?;
    let start = Instant::now();
    let mut id = 100;
    let mut met_first = |stage: &Stage| -> Result<bool> {
        id += 1;
        ask(&stage.client, kube_dns(stage)?[0], id, "web.shop.svc.cluster.local")?;
        // Meanwhile the exchange is seen elsewhere on its way, if not at the client's interface.
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id}}))?;
        Ok(text(&event, "/points/0/interface") == interface)
    };
    while !met_first(&stage)? {
        ensure!(start.elapsed() < AGAIN, "ours is not first again after {AGAIN:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
    let again = start.elapsed();
    names_are_seen(&stage, 5)?;
    stage.finish(format!("attached before, behind and in front; first again after {:.1} s", again.as_secs_f64()))
}

/// A chain at the smallest priority that drops.
pub fn nft_earliest_priority(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    let earliest = i32::MIN.to_string();
    forbid(&shop.node, "prerouting", &earliest, &format!("udp dport {BLOCKED}"))?;
    let stage = Stage::on(context, shop, |daemon| daemon)?;
    let mut hooks = Vec::new();
    for event in client_to_db(&stage, &json!({"drop": {"reason": "NETFILTER_DROP"}}))? {
        let hook = text(&event, "/drop/hook").to_owned();
        ensure!(hook.is_empty() || hook == "PREROUTING", "hook {hook} in {event}");
        hooks.push(if hook.is_empty() { "unknown".to_owned() } else { hook });
    }
    ensure!(forbidden(&stage.node)? == 2, "the rule counts {}", forbidden(&stage.node)?);
    stage.finish(format!("hook {}", hooks.join(", ")))
}

/// Two daemons on one node see the same, and the end of one changes nothing for the other.
pub fn second_instance(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let second = Daemon::builder(&context.netobs)
        .kubeconfig(stage.api.kubeconfig())
        .listen("127.0.0.1:7118")
        .start(&stage.node)?;
    let in_forward = json!({"drop": {"reason": "NETFILTER_DROP", "hook": "FORWARD"}});
    let by_netfilter = json!({"drop": {"reason": "NETFILTER_DROP"}});
    client_to_db(&stage, &in_forward)?;
    names_are_seen(&stage, 1)?;
    let mut first = stage.replace_daemon(second);
    let drops = stage.events(&json!({
        "kind": "drop", "drop": {"reason": "NETFILTER_DROP"}, "source": pod(&stage.client), "destination": pod(&stage.db),
    }))?;
    // The first daemon's program goes before the second's in each hook, and the second cannot know that it never drops. Before
    // one that is no program in the hook, nothing goes.
    let hook = if stage.has_netfilter_links()? { Value::Null } else { "FORWARD".into() };
    ensure!(drops.iter().all(|drop| drop["drop"]["hook"] == hook), "not in {hook}: {drops:?}");
    ensure!(drops.len() == 2, "the second daemon has {} drops instead of 2", drops.len());
    let names = stage.events(&json!({"kind": "dns", "severity": "info", "source": pod(&stage.client)}))?;
    ensure!(names.len() == 2, "the second daemon has {} DNS events instead of 2", names.len());
    first.kill()?;
    names_are_seen(&stage, 3)?;
    let again = stage.client.udp_send(stage.db.at(BLOCKED), b"again");
    ensure!(again.is_ok(), "{again:?}");
    let drops = json!({
        "kind": "drop", "drop": {"reason": "NETFILTER_DROP"},
        "flow": {"destination_ip": stage.db.ipv4(), "destination_port": BLOCKED},
    });
    stage.expect(2, &drops)?;
    stage.caused(by_netfilter);
    stage.finish("both see all; the second outlives the first")
}
