//! Each reset counts once, however many hooks it passes and whatever becomes of its addresses on its way.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::connection::refuse;
use super::refused::{CLOSED, node_at};
use crate::suite::json::must;
use crate::suite::traffic::both;
use crate::suite::{Context, Outcome, Stage};
use crate::{Layout, Place, Service, Shop};

/// Connections of each way: more than are told whole in a second, so sums are part of it.
const CONNECTIONS: u64 = 40;

/// A way of resets: who connects, to which address, and where the resets come from.
type Way<'a> = (&'a Place, SocketAddr, SocketAddr);

fn ways<'a>(stage: &'a Stage, service: &Service) -> Result<Vec<Way<'a>>> {
    let (v4, v6) = stage.node.plan().internet();
    let outside = [SocketAddr::from((v4, CLOSED)), (v6, CLOSED).into()];
    let services = [service.at("redis"), service.at6("redis")];
    let mut ways: Vec<Way<'a>> = Vec::new();
    for index in 0..2 {
        let db = both(&stage.db, CLOSED)[index];
        let node = node_at(stage, CLOSED)[index];
        ways.extend([
            (&**stage.client, db, db),
            (&stage.client, services[index].context("the Service's address")?, db),
            (&stage.client, node, node),
            (&stage.node, db, db),
            (&stage.client, outside[index], outside[index]),
        ] as [Way<'a>; 5]);
    }
    Ok(ways)
}

fn each_once(stage: Stage) -> Result<Outcome> {
    let service = Service::new("shop", "cache").select("app", "db").tcp("redis", 6380, CLOSED);
    let service = stage.node.add_service(service)?;
    stage.sync()?;
    let mut refused: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for (from, to, by) in ways(&stage, &service)? {
        for _ in 0..CONNECTIONS {
            refuse(from, to)?;
        }
        *refused.entry(by.ip()).or_default() += CONNECTIONS;
    }
    for (ip, count) in &refused {
        for event in stage.told(&json!({"kind": "reset", "flow": {"source_ip": ip}}), *count)? {
            must(&event, &json!({"reset": {"cause": "refused"}}))?;
        }
    }
    // So many at once from one source is a flood.
    stage.caused(json!({"kind": "flood"}));
    let total = refused.values().sum();
    let all = stage.told(&json!({"kind": "reset"}), total)?;
    let summaries = all.iter().filter(|event| event["coalesced"] == true).count();
    ensure!(summaries > 0, "{} events and no sum", all.len());
    stage.finish_settled(format!("{total} resets = {} events + {summaries} summaries", all.len() - summaries))
}

/// Pods on a bridge.
pub fn each_reset_once_bridge(context: &Context) -> Result<Outcome> {
    each_once(Stage::start(context)?)
}

/// Pods with routes of their own.
pub fn each_reset_once_host_routed(context: &Context) -> Result<Outcome> {
    each_once(Stage::on(context, Shop::start(Layout::HostRouted)?, |daemon| daemon)?)
}

/// The uplink is a device on top of another, as a bond or a VLAN is: each packet passes both. It becomes so while the
/// daemon runs.
pub fn each_reset_once_stacked(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (node4, node6) = stage.node.plan().node();
    let (router4, router6) = stage.node.plan().router();
    stage.node.ip(&format!(
        "link add stacked link eth0 type macvlan mode bridge\n\
         addr flush dev eth0\n\
         route del ::/0\n\
         addr add {node4}/24 dev stacked\n\
         addr add {node6}/64 dev stacked nodad\n\
         link set stacked up\n\
         route add default via {router4}\n\
         route add ::/0 via {router6}\n"
    ))?;
    stage.node.netns().wait_for_ipv6("stacked")?;
    // The router knows the node by its former hardware address.
    stage.node.internet().ip("neigh flush all\n")?;
    stage.status_when("both interfaces are attached", Duration::from_secs(10), |status| {
        let attached = |name: &str| {
            let rows = status["interfaces"].as_array();
            rows.is_some_and(|rows| {
                rows.iter().any(|row| row["name"] == name && row["attached"] == json!(["ingress", "egress"]))
            })
        };
        attached("eth0") && attached("stacked")
    })?;
    each_once(stage)
}
