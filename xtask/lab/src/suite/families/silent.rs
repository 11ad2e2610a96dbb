//! Packets that are dropped because they are too big for an interface, without a word to their sender.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::connection::Connection;
use super::too_big::{LENGTH, NARROW, SINK, narrow, send_whole};
use super::want::{one_between, too_big};
use crate::options::forget;
use crate::suite::json::{must, number};
use crate::suite::{Context, Outcome, Stage};
use crate::{Place, Pod};

/// What is told of a datagram that nobody was told about.
fn silently() -> Value {
    json!({
        "cause": "exceeds_mtu", "next_hop_mtu": NARROW,
        "icmp": null, "reported_by": null, "reported_by_ip": null,
    })
}

/// Sends a datagram that is too big to `shop/db-0` over each protocol; each must be one event like this.
fn two_datagrams(stage: &Stage, want: &Value) -> Result<()> {
    for to in [stage.db.at(SINK), stage.db.at6(SINK)] {
        let from = send_whole(&stage.client, to)?;
        let event = one_between(stage, &too_big("udp", from, to), &stage.client, &stage.db, &silently())?;
        must(&event, want)?;
        // netfilter on a bridge makes one fragment, with a header of 8 bytes, of an IPv6 packet that is bigger than the
        // port takes (`br_nf_dev_queue_xmit`), before the port refuses it.
        let length = number(&event, "/mtu/packet_length");
        let as_fragment = to.is_ipv6() && length == u64::from(LENGTH) + 8;
        ensure!(length == u64::from(LENGTH) || as_fragment, "the packet has {length} bytes: {event}");
    }
    stage.expect(2, &json!({"kind": "mtu"}))?;
    Ok(())
}

/// A bridge's port whose MTU is smaller than those of the others, with packets that pass netfilter on the bridge.
pub fn too_big_for_bridge_port(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    narrow(&stage, &stage.db)?;
    // It would else take the smallest MTU of its ports as its own.
    stage.node.ip(&format!("link set {} mtu 1500\n", stage.node.bridge()))?;
    two_datagrams(&stage, &json!({"mtu": {"interface": stage.db.host_interface()}}))?;
    stage.finish_settled("the port is named")
}

/// The same without netfilter on the bridge.
pub fn too_big_for_bridge_port_unfiltered(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for key in ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"] {
        stage.node.netns().sysctl(key, "0")?;
    }
    narrow(&stage, &stage.db)?;
    two_datagrams(&stage, &json!({"mtu": {"interface": stage.db.host_interface()}}))?;
    stage.finish_settled("the port is named")
}

/// The pod's own end of its link takes less than the node's end.
pub fn too_big_into_pod(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    stage.db.ip(&format!("link set eth0 mtu {NARROW}\n"))?;
    two_datagrams(&stage, &json!({"drop": {"hook": null}}))?;
    stage.finish_settled("one event each, the pod's MTU named")
}

/// The node's end of a pod's link takes less than the pod's own end: dropped inside the pod.
pub fn too_big_out_of_pod(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    narrow(&stage, &stage.client)?;
    two_datagrams(&stage, &json!({"netns": stage.client.netns().inode()}))?;
    stage.finish_settled("one event each, in the pod's namespace")
}

/// Packets that the pod's interface dropped on their way in, by its own counter.
fn dropped_at(pod: &Pod) -> Result<u64> {
    let place: &Place = pod;
    let shown = place.must(&["ip", "-json", "-statistics", "link", "show", "eth0"])?.stdout;
    let shown: Value = serde_json::from_str(&shown)?;
    shown.pointer("/0/stats64/rx/dropped").and_then(Value::as_u64).with_context(|| format!("no counter in {shown}"))
}

/// A connection that stalls: small segments pass, a big one never does. Each try is an event.
pub fn black_hole_tells_each_segment(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    stage.db.ip(&format!("link set eth0 mtu {NARROW}\n"))?;
    let mut detail = Vec::new();
    for at in [stage.db.at(SINK), stage.db.at6(SINK)] {
        // The listener's MTU limits what the opener may send: a proxy that rewrites that option is what makes the hole.
        let raise = |mtu: u32| stage.db.ip(&format!("link set eth0 mtu {mtu}\n"));
        raise(1500)?;
        let mut connection = Connection::direct(&stage.client, &stage.db, at)?;
        connection.talk()?;
        raise(NARROW)?;
        let before = dropped_at(&stage.db)?;
        let from: SocketAddr = connection.client_address()?;
        connection.client.write_all(&[7; 1420])?;
        std::thread::sleep(Duration::from_millis(1500));
        // Its tries end here, and nobody is told.
        let Connection { client, server, .. } = connection;
        forget(client)?;
        forget(server)?;
        let dropped = dropped_at(&stage.db)? - before;
        ensure!(dropped >= 2, "only {dropped} tries in 1.5 s");
        for event in stage.expect(usize::try_from(dropped)?, &too_big("tcp", from, at))? {
            must(&event, &json!({"count": 1, "mtu": {"cause": "exceeds_mtu", "next_hop_mtu": NARROW, "icmp": null}}))?;
        }
        detail.push(format!("{dropped} tries"));
    }
    stage.finish_settled(format!("{}, an event each", detail.join(", ")))
}
