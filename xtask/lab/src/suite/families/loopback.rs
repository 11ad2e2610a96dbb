//! Resets that never leave their namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};

use super::connection::{Connection, is_reset, refuse};
use super::refused::{CLOSED, refusal};
use super::want::{any_port, names_the_drop, node, one_reset, reset};
use crate::Place;
use crate::options::abort_on_close;
use crate::suite::json::{must, pod};
use crate::suite::{Context, Outcome, Stage};

/// Port of the connections that are aborted.
const OPEN: u16 = 7000;

/// Refused and aborted connections of a place with itself, on each of its addresses.
fn with_itself(stage: &Stage, place: &Place, own: [IpAddr; 2], end: &Value, refusal: &Value) -> Result<()> {
    let netns = place.netns().inode();
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), own[0], own[1]];
    let ends = || [end.clone(), end.clone()];
    for ip in addresses {
        let to = SocketAddr::new(ip, CLOSED);
        refuse(place, to)?;
        let event = one_reset(stage, &reset(to, any_port(ip)), ends(), refusal)?;
        names_the_drop(stage, &event, to)?;
        must(&event, &json!({"netns": netns, "nat": null}))?;
    }
    for ip in addresses {
        let at = SocketAddr::new(ip, OPEN);
        let connection = Connection::direct(place, place, at)?;
        connection.talk()?;
        let from = connection.client_address()?;
        let Connection { client, mut server, .. } = connection;
        abort_on_close(&client)?;
        drop(client);
        is_reset(&mut server)?;
        let aborted = json!({"cause": "aborted", "opener": "source", "destination_state": "ESTABLISHED"});
        let event = one_reset(stage, &reset(from, at), ends(), &aborted)?;
        must(&event, &json!({"netns": netns}))?;
    }
    stage.expect(8, &json!({"kind": "reset"}))?;
    Ok(())
}

/// Inside a pod: what breaks `kubectl port-forward`, and sidecars.
pub fn loopback_of_pod(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    // Only its sockets tell of it: nobody sees the packet.
    let mut refusal = refusal();
    refusal["tcp_flags"] = Value::Null;
    with_itself(&stage, &stage.db, stage.db.ips(), &pod(&stage.db), &refusal)?;
    stage.finish_settled("refused and aborted on 127.0.0.1, ::1 and the pod's own addresses: one event each")
}

/// On the node.
pub fn loopback_of_node(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let (v4, v6) = stage.node.plan().node();
    with_itself(&stage, &stage.node, [v4.into(), v6.into()], &node(), &refusal())?;
    stage.finish_settled("refused and aborted on 127.0.0.1, ::1 and the node's own addresses: one event each")
}
