//! Where nothing fails, these families have nothing to tell.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::suite::json::drop_to;
use crate::suite::traffic::{both, socket};
use crate::suite::{Context, Outcome, Stage};
use crate::{Place, Pod};

/// Shortest time of it, however short a silence is asked for.
const AT_LEAST: Duration = Duration::from_secs(6);
/// A UDP echo's port.
const ECHO: u16 = 9000;

/// One connection with several requests and answers (as HTTP keep-alive), closed by its opener.
fn keep_alive(from: &Place, to: SocketAddr) -> Result<()> {
    let mut stream = from.tcp_connect(to, Duration::from_secs(2)).with_context(|| format!("connecting to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut answer = [0; 64];
    for request in 0..5_u8 {
        stream.write_all(&[request; 64])?;
        stream.read_exact(&mut answer).context("an answer")?;
    }
    stream.shutdown(Shutdown::Write)?;
    ensure!(stream.read(&mut answer)? == 0, "data after the end");
    Ok(())
}

/// One connection that its server closes first.
fn closed_by_server(from: &Place, server: &Place, at: SocketAddr) -> Result<()> {
    let mut connection = super::connection::Connection::direct(from, server, at)?;
    connection.talk()?;
    connection.server.shutdown(Shutdown::Write)?;
    ensure!(connection.client.read(&mut [0; 8])? == 0, "data after the end");
    connection.client.shutdown(Shutdown::Write)?;
    ensure!(connection.server.read(&mut [0; 8])? == 0, "data after the end");
    Ok(())
}

/// How many connections a second's burst of them is: far more than drops are told one by one.
const MANY: u64 = 400;

/// A server that ends each connection itself, as of HTTP/1.0: the client's FIN comes to a socket in `TIME_WAIT`, which frees
/// it as a drop without a reason. However many, nothing failed.
pub fn many_closed_by_server(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let mut detail = Vec::new();
    for at in both(&stage.db, 7003) {
        let listener = stage.db.tcp_listener(at)?;
        let connected = || {
            let client = stage.client.tcp_connect(at, Duration::from_secs(2))?;
            drop(listener.accept()?);
            Ok(client)
        };
        let clients = (0..MANY).map(|_| connected()).collect::<Result<Vec<_>>>()?;
        // Until each server's FIN is acknowledged: an answering FIN that comes with the acknowledgment is not late.
        std::thread::sleep(crate::slow::patience(Duration::from_millis(500)));
        drop(clients);
        let mut late = drop_to("tcp", at);
        late["severity"] = "info".into();
        late["drop"] = json!({"reason": "NOT_SPECIFIED"});
        let told = stage.told(&late, MANY)?;
        let sums = told.iter().filter(|event| event["coalesced"] == true).count();
        ensure!(sums > 0, "nothing was counted: {} events", told.len());
        detail.push(format!("{MANY} late FINs to {at} = {} events + {sums} sums, all info", told.len() - sums));
    }
    stage.finish_settled(detail.join("; "))
}

/// A datagram of three fragments, and its echo of as many.
fn fragments(from: &Place, to: SocketAddr) -> Result<()> {
    let socket = socket(from, to)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&[7; 4000])?;
    ensure!(
        socket.recv(&mut [0; 5000]).with_context(|| format!("the echo of fragments to {to}"))? == 4000,
        "the fragments are not put together"
    );
    Ok(())
}

/// Big segments over a path whose MTU both ends know.
fn respectful(from: &Place, server: &Pod, at: SocketAddr) -> Result<()> {
    const DATA: usize = 200_000;
    let connection = super::connection::Connection::direct(from, server, at)?;
    let (mut client, mut server) = (connection.client, connection.server);
    std::thread::scope(|scope| {
        let read = scope.spawn(move || server.read_exact(&mut vec![0; DATA]).map(|()| server));
        client.write_all(&vec![7; DATA])?;
        client.shutdown(Shutdown::Write)?;
        read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(())
    })
}

/// Connections opened and closed as they should be, names over UDP and TCP, fragments that all come.
pub fn healthy_minute(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::start(context)?;
    let servers = [stage.node.internet().tcp_echo(8080)?, stage.db.udp_echo(ECHO)?, stage.node.tcp_echo(10_250)?];
    for server in servers {
        stage.keep(server);
    }
    // A pod whose link is narrower at both ends, as a CNI's for a tunnel: whoever connects learns of it.
    let narrow = &stage.web[1];
    // The bridge itself keeps its MTU: it would else take its ports' smallest, and no longer pass on what was put together
    // from bigger fragments (`br_nf_ip_fragment`).
    stage.node.ip(&format!(
        "link set {} mtu 1450\nlink set {} mtu 1500\n",
        narrow.host_interface(),
        stage.node.bridge()
    ))?;
    narrow.ip("link set eth0 mtu 1450\n")?;
    let (v4, v6) = stage.node.plan().internet();
    let (node4, node6) = stage.node.plan().node();
    let targets: Vec<SocketAddr> = [stage.web_service.at("http"), stage.web_service.at6("http")]
        .into_iter()
        .flatten()
        .chain(both(&stage.db, 5432))
        .chain([(v4, 8080).into(), (v6, 8080).into(), (node4, 10_250).into(), (node6, 10_250).into()])
        .collect();
    let (begin, time) = (Instant::now(), context.silence.max(AT_LEAST));
    let mut rounds = 0;
    while begin.elapsed() < time {
        for to in &targets {
            keep_alive(&stage.client, *to)?;
        }
        for at in both(&stage.db, 7001) {
            closed_by_server(&stage.client, &stage.db, at)?;
            closed_by_server(&stage.node, &stage.db, at)?;
        }
        for at in both(narrow, 7002) {
            respectful(&stage.client, narrow, at)?;
        }
        for to in both(&stage.db, ECHO) {
            fragments(&stage.client, to)?;
        }
        for server in stage.dns.ips() {
            for options in [&[][..], &["+tcp"]] {
                let answer = stage.client.dig(server, "web.shop.svc.cluster.local", "A", options)?;
                ensure!(answer.status.as_deref() == Some("NOERROR"), "{}", answer.text);
            }
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
    for kind in ["mtu", "reset", "flood"] {
        let told = stage.events(&json!({"kind": kind}))?;
        ensure!(told.is_empty(), "{} events of kind {kind}, the first: {}", told.len(), told[0]);
    }
    stage.finish_settled(format!("{rounds} rounds in {} s, no event of these kinds", time.as_secs()))
}
