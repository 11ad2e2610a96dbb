//! Packets that this node cannot forward because they are too big for their next hop, and says so to their sender.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::connection::Connection;
use super::want::{error_of, node, one_between, too_big};
use crate::options::never_fragment;
use crate::suite::json::{must, number, pod, service};
use crate::suite::traffic::socket;
use crate::suite::{Context, Outcome, Stage};
use crate::{Layout, Place, Pod, Service, Shop};

/// MTU of the narrow link.
pub const NARROW: u32 = 1400;
/// Bytes of the packets that are too big for it.
pub const LENGTH: u32 = 1480;
/// A UDP port that takes everything.
pub const SINK: u16 = 9000;
/// Bytes that fit one segment, whose packet does not fit the narrow link, for IPv4 and IPv6.
const ONE_SEGMENT: usize = 1420;
/// Packets of the burst.
const BURST: u64 = 2_000;

/// A stage whose pods have routes of their own, and the interface to `shop/db-0` is narrow.
fn stage(context: &Context) -> Result<Stage> {
    let mut stage = Stage::on(context, Shop::start(Layout::HostRouted)?, |daemon| daemon)?;
    narrow(&stage, &stage.db)?;
    let sink = stage.db.udp_silent(SINK)?;
    stage.keep(sink);
    Ok(stage)
}

/// Makes the node's end of the link to a pod narrow.
pub fn narrow(stage: &Stage, pod: &Pod) -> Result<()> {
    stage.node.ip(&format!("link set {} mtu {NARROW}\n", pod.host_interface()))
}

/// A socket of a place, connected, that sends datagrams as they are.
pub fn whole(from: &Place, to: SocketAddr) -> Result<UdpSocket> {
    let socket = socket(from, to)?;
    never_fragment(&socket, to)?;
    Ok(socket)
}

/// Bytes that make an IP packet of that length in a datagram to this address.
pub fn payload(to: SocketAddr, length: u32) -> Vec<u8> {
    let headers = if to.is_ipv4() { 28 } else { 48 };
    vec![7; length as usize - headers]
}

/// Sends one datagram as a packet of [`LENGTH`]; returns the address it was sent from.
pub fn send_whole(from: &Place, to: SocketAddr) -> Result<SocketAddr> {
    let socket = whole(from, to)?;
    socket.send(&payload(to, LENGTH)).with_context(|| format!("sending to {to}"))?;
    Ok(socket.local_addr()?)
}

/// What the node says of a packet that it cannot forward to `shop/db-0`.
fn told(stage: &Stage, to: SocketAddr) -> Value {
    json!({
        "cause": error_of(to), "next_hop_mtu": NARROW, "icmp": "sent", "reported_by": node(),
        "interface": stage.db.host_interface(), "fragment_id": null,
    })
}

/// One UDP datagram.
pub fn too_big_datagram(context: &Context) -> Result<Outcome> {
    let stage = stage(context)?;
    for to in [stage.db.at(SINK), stage.db.at6(SINK)] {
        let from = send_whole(&stage.client, to)?;
        let event = one_between(&stage, &too_big("udp", from, to), &stage.client, &stage.db, &told(&stage, to))?;
        must(&event, &json!({"mtu": {"packet_length": LENGTH, "gso_size": null}}))?;
    }
    stage.expect(2, &json!({"kind": "mtu"}))?;
    stage.finish_settled("one event each: who, to whom, next hop's MTU, interface")
}

/// One TCP segment; the connection then goes on with smaller ones.
pub fn too_big_segment(context: &Context) -> Result<Outcome> {
    let stage = stage(context)?;
    for at in [stage.db.at(SINK), stage.db.at6(SINK)] {
        let mut connection = Connection::direct(&stage.client, &stage.db, at)?;
        connection.client.write_all(&[7; ONE_SEGMENT])?;
        connection.server.read_exact(&mut [0; ONE_SEGMENT]).context("the data does not arrive")?;
        let like = too_big("tcp", connection.client_address()?, at);
        let event = one_between(&stage, &like, &stage.client, &stage.db, &told(&stage, at))?;
        // Without options that are not sent here: 20 or 40, 20 and 12 bytes of headers.
        let headers = if at.is_ipv4() { 52 } else { 72 };
        must(&event, &json!({"mtu": {"packet_length": ONE_SEGMENT + headers, "gso_size": null}}))?;
    }
    stage.finish_settled("one event each, the data arrives")
}

/// Packets that the kernel could not forward because of their size, by its own count (RFC 4293, `ipIfStatsOutFragFails`).
fn failed(stage: &Stage, ipv6: bool) -> Result<u64> {
    let read = || -> Result<u64> {
        let [file, name] = if ipv6 {
            ["/proc/thread-self/net/snmp6", "Ip6FragFails"]
        } else {
            ["/proc/thread-self/net/snmp", "FragFails"]
        };
        let text = std::fs::read_to_string(file)?;
        let value = if ipv6 {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        } else {
            // A line of names, a line of values.
            let mut lines = text.lines().filter(|line| line.starts_with("Ip:")).map(str::split_whitespace);
            lines
                .next()
                .zip(lines.next())
                .and_then(|(names, values)| names.zip(values).find(|(found, _)| *found == name)?.1.parse().ok())
        };
        value.with_context(|| format!("no {name} in {file}"))
    };
    stage.node.run(read)?
}

/// Data that the sender's kernel leaves to be cut into segments later (GSO): each packet that fails is an event.
pub fn too_big_segmented_later(context: &Context) -> Result<Outcome> {
    const DATA: usize = 14_000;
    let stage = stage(context)?;
    let mut detail = Vec::new();
    for at in [stage.db.at(SINK), stage.db.at6(SINK)] {
        let before = failed(&stage, at.is_ipv6())?;
        let mut connection = Connection::direct(&stage.client, &stage.db, at)?;
        connection.client.write_all(&[7; DATA])?;
        connection.server.read_exact(&mut [0; DATA]).context("the data does not arrive")?;
        let failed = usize::try_from(failed(&stage, at.is_ipv6())? - before)?;
        ensure!(failed > 0, "nothing was too big");
        let events = stage.expect(failed, &too_big("tcp", connection.client_address()?, at))?;
        for event in &events {
            must(
                event,
                &json!({
                    "count": 1, "source": pod(&stage.client), "destination": pod(&stage.db),
                    "mtu": told(&stage, at),
                }),
            )?;
            let length = number(event, "/mtu/packet_length");
            ensure!((1401..=1500).contains(&length), "a segment's packet has {length} bytes: {event}");
        }
        let later = events.iter().filter(|event| number(event, "/mtu/gso_size") > 0).count();
        ensure!(later > 0, "no packet was to be segmented: {events:?}");
        detail.push(format!("{failed} packets failed, {later} of them to be segmented"));
    }
    stage.finish_settled(detail.join("; "))
}

/// To a Service's address: still one event, with what was asked for and what was chosen.
pub fn too_big_behind_service(context: &Context) -> Result<Outcome> {
    let stage = stage(context)?;
    let bulk = Service::new("shop", "bulk").select("app", "db").tcp("bulk", 90, SINK);
    let bulk = stage.node.add_service(bulk)?;
    stage.sync()?;
    for (at, to) in [stage.db.at(SINK), stage.db.at6(SINK)].into_iter().zip([bulk.at("bulk"), bulk.at6("bulk")]) {
        let to = to.context("the Service's address")?;
        let mut connection = Connection::open(&stage.client, to, &stage.db, at)?;
        connection.client.write_all(&[7; ONE_SEGMENT])?;
        connection.server.read_exact(&mut [0; ONE_SEGMENT]).context("the data does not arrive")?;
        let like = json!({"kind": "mtu", "mtu": {"cause": error_of(to)}});
        let mut told = told(&stage, to);
        // On its way to the client the error gets the Service's address as its own source.
        told["reported_by"] = json!({"node": "node-a", "pod": null});
        let event = one_between(&stage, &like, &stage.client, &stage.db, &told)?;
        must(
            &event,
            &json!({"nat": {
                "original": {"protocol": "tcp", "destination_ip": to.ip(), "destination_port": to.port(),
                             "source_port": connection.client_address()?.port()},
                "service": service(&bulk, "bulk"), "backend": pod(&stage.db),
            }}),
        )?;
    }
    stage.finish_settled("Service and backend named, one event each")
}

/// Many packets at once: whole events and sums add up to what was sent.
pub fn too_big_burst(context: &Context) -> Result<Outcome> {
    let stage = stage(context)?;
    let each_is_known = stage.feature("reason of too big packets")?["state"] == "works";
    let mut detail = Vec::new();
    for to in [stage.db.at(SINK), stage.db.at6(SINK)] {
        let like = json!({"kind": "mtu", "mtu": {"cause": error_of(to)}});
        stage.caused(like.clone());
        if !each_is_known {
            // Sums of the drops are told apart.
            stage.caused(json!({
                "kind": "drop", "coalesced": true, "drop": {"reason": "NOT_SPECIFIED"},
                "source": pod(&stage.client), "destination": pod(&stage.db),
            }));
        }
        let socket = whole(&stage.client, to)?;
        let payload = payload(to, LENGTH);
        for _ in 0..BURST {
            // The error message about the packet before is told instead of sending: once more.
            while let Err(error) = socket.send(&payload) {
                ensure!(
                    error.raw_os_error() == Some(libc::EMSGSIZE) || error.kind() == ErrorKind::WouldBlock,
                    "{error}"
                );
            }
        }
        let events = stage.told(&like, BURST)?;
        let summaries = events.iter().filter(|event| event["coalesced"] == true).count();
        ensure!(summaries > 0 && events.len() < 200, "{} events, {summaries} summaries", events.len());
        let (packets, errors) = (json!([pod(&stage.client), pod(&stage.db)]), json!([node(), pod(&stage.client)]));
        for event in &events {
            // Without a reason of its own, a sum is one of the node's errors, and of what they say.
            let ends = if event["coalesced"] == true && !each_is_known { &errors } else { &packets };
            must(event, &json!({"source": ends[0], "destination": ends[1], "severity": "problem"}))?;
        }
        let whole = events.iter().find(|event| event["coalesced"].is_null()).context("no whole event")?;
        must(whole, &json!({"destination": pod(&stage.db), "mtu": told(&stage, to)}))?;
        detail.push(format!("{BURST} packets = {} events + {summaries} summaries", events.len() - summaries));
    }
    stage.finish_settled(detail.join("; "))
}
