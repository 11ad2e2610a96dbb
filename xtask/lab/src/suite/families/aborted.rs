//! Connections that were there and end with a reset.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::connection::{Connection, is_reset};
use super::want::{one_reset, reset};
use crate::options::{abort_on_close, forget};
use crate::suite::json::{must, pod, service, text};
use crate::suite::traffic::both;
use crate::suite::{Context, Outcome, Stage};
use crate::{Place, Service};

/// Port of the connections.
const OPEN: u16 = 7000;
/// How old they get at least.
const AGE: Duration = Duration::from_millis(50);

/// What is told of the end of a living connection. What the sender's socket was in before may be unknown; that it had left
/// that state by the time it sent the reset is not what the field means.
fn aborted(opener: &str, reason: &str) -> Value {
    json!({
        "cause": "aborted", "reason": reason, "opener": opener, "destination_state": "ESTABLISHED",
    })
}

fn states_are_right(event: &Value) -> Result<()> {
    let state = text(event, "/reset/source_state");
    ensure!(state.is_empty() || state == "ESTABLISHED", "source_state is {state}: {event}");
    let age = event.pointer("/reset/age_ms").and_then(Value::as_f64).unwrap_or_default();
    ensure!((50.0..60_000.0).contains(&age), "the age is {age} ms: {event}");
    Ok(())
}

/// A connection to an address that leads to `at` of `shop/db-0`, which has lived for a moment.
fn living(stage: &Stage, to: SocketAddr, at: SocketAddr) -> Result<Connection> {
    let connection = Connection::open(&stage.client, to, &stage.db, at)?;
    connection.talk()?;
    std::thread::sleep(AGE);
    Ok(connection)
}

/// The opener, `shop/checkout` at `from`, has given up its connection to `at` of `shop/db-0`: the one event of it.
fn opener_gave_up(stage: &Stage, from: SocketAddr, at: SocketAddr, reason: &str) -> Result<Value> {
    let ends = [pod(&stage.client), pod(&stage.db)];
    let event = one_reset(stage, &reset(from, at), ends, &aborted("source", reason))?;
    states_are_right(&event)?;
    Ok(event)
}

/// The server closes its end: the opener is reset. The one event of it.
fn server_gives_up(stage: &Stage, connection: Connection, at: SocketAddr, reason: &str) -> Result<Value> {
    let from = connection.client_address()?;
    let Connection { mut client, server, .. } = connection;
    drop(server);
    is_reset(&mut client)?;
    let ends = [pod(&stage.db), pod(&stage.client)];
    let event = one_reset(stage, &reset(at, from), ends, &aborted("destination", reason))?;
    states_are_right(&event)?;
    Ok(event)
}

/// The opener gives up (`SO_LINGER` with time 0).
pub fn aborted_by_client(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for at in both(&stage.db, OPEN) {
        let connection = living(&stage, at, at)?;
        let from = connection.client_address()?;
        let Connection { client, mut server, .. } = connection;
        abort_on_close(&client)?;
        drop(client);
        is_reset(&mut server)?;
        opener_gave_up(&stage, from, at, "TCP_STATE")?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: the opener gave up")
}

/// The other end gives up.
pub fn aborted_by_server(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for at in both(&stage.db, OPEN) {
        let connection = living(&stage, at, at)?;
        abort_on_close(&connection.server)?;
        server_gives_up(&stage, connection, at, "TCP_STATE")?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: the server gave up")
}

/// Through a Service's address.
pub fn aborted_behind_service(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let sql = stage.node.add_service(Service::new("shop", "sql").select("app", "db").tcp("sql", 70, OPEN))?;
    stage.sync()?;
    for (at, to) in both(&stage.db, OPEN).into_iter().zip([sql.at("sql"), sql.at6("sql")]) {
        let connection = living(&stage, to.context("the Service's address")?, at)?;
        abort_on_close(&connection.server)?;
        let event = server_gives_up(&stage, connection, at, "TCP_STATE")?;
        must(&event, &json!({"nat": {"service": service(&sql, "sql"), "backend": pod(&stage.db)}}))?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("Service and backend named, one event each")
}

/// Closing a socket whose data nobody has read (RFC 2525 section 2.17).
pub fn aborted_with_unread_data(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for at in both(&stage.db, OPEN) {
        let mut connection = living(&stage, at, at)?;
        connection.client.write_all(b"nobody reads this")?;
        // It has arrived once it can be looked at.
        ensure!(connection.server.peek(&mut [0; 8])? > 0, "nothing arrives");
        server_gives_up(&stage, connection, at, "TCP_ABORT_ON_CLOSE")?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each, with the kernel's reason")
}

/// SIGKILL of a process with unread data: its kernel closes the socket for it.
pub fn process_killed(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for at in both(&stage.db, OPEN) {
        let listener = stage.db.tcp_listener(at)?;
        let to = if at.is_ipv4() { format!("TCP4:{at}") } else { format!("TCP6:{at}") };
        let place: &Place = &stage.client;
        // Only from its input to the connection: it never reads what comes.
        let mut command = place.command("socat");
        command.args(["-u", "STDIN", &to]).stdin(Stdio::piped());
        let mut process = place.spawn(&mut command)?;
        let (mut server, from) = listener.accept()?;
        server.set_read_timeout(Some(Duration::from_secs(3)))?;
        server.write_all(b"nobody reads this")?;
        process.child().stdin.as_mut().context("its input")?.write_all(b"!")?;
        server.read_exact(&mut [0; 1]).context("socat says nothing")?;
        std::thread::sleep(AGE);
        process.signal(rustix::process::Signal::KILL)?;
        is_reset(&mut server)?;
        opener_gave_up(&stage, from, at, "TCP_ABORT_ON_CLOSE")?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: the opener's kernel gave up")
}

/// One end has lost its memory of the connection, as after a restart of its machine; the other goes on.
fn half_open(context: &Context, listening: bool) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for at in both(&stage.db, OPEN) {
        let connection = living(&stage, at, at)?;
        let from = connection.client_address()?;
        let Connection { mut client, server, listener } = connection;
        let listener = listener.filter(|_| listening);
        forget(server)?;
        client.write_all(b"are you there?")?;
        is_reset(&mut client)?;
        drop(listener);
        let ends = [pod(&stage.db), pod(&stage.client)];
        let want = json!({
            "cause": "no_connection", "opener": "destination", "destination_state": "ESTABLISHED", "tcp_flags": "RST",
        });
        one_reset(&stage, &reset(at, from), ends, &want)?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: the connection is unknown to its server")
}

/// Nothing listens on the port any more.
pub fn half_open_without_listener(context: &Context) -> Result<Outcome> {
    half_open(context, false)
}

/// Something listens there, so the port itself refuses nobody.
pub fn half_open_with_listener(context: &Context) -> Result<Outcome> {
    half_open(context, true)
}
