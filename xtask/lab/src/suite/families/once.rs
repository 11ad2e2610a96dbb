//! Each reset counts once, however many hooks it passes and whatever becomes of its addresses on its way.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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

fn each_once(context: &Context, layout: Layout) -> Result<Outcome> {
    let stage = Stage::on(context, Shop::start(layout)?, |daemon| daemon)?;
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
    each_once(context, Layout::Bridge)
}

/// Pods with routes of their own.
pub fn each_reset_once_host_routed(context: &Context) -> Result<Outcome> {
    each_once(context, Layout::HostRouted)
}
