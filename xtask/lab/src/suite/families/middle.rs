//! Resets that neither end sent: by a packet filter's rule, or by somebody who only claims to be one of them.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::connection::{Connection, is_reset, refuse};
use super::refused::node_at;
use super::want::{any_port, node, one_reset, reset};
use crate::Backend;
use crate::options::next_expected;
use crate::packet::{self, RST, Segment};
use crate::suite::json::{drop_to, must, pod};
use crate::suite::traffic::both;
use crate::suite::{Context, Outcome, Stage};

/// Port that rules reject.
const REJECTED: u16 = 7100;
/// Port of a connection that is there.
const OPEN: u16 = 7000;

/// Adds a chain whose rule rejects TCP to that port with a reset.
fn reject_by_nft(stage: &Stage, hook: &str, port: u16) -> Result<()> {
    stage.node.nft(&format!(
        "table inet suite-reject {{\n chain {hook} {{\n type filter hook {hook} priority filter; policy accept;\n \
         tcp dport {port} reject with tcp reset\n }}\n}}\n"
    ))
}

/// A reset by a rule names as its evidence the drop of the packet that met the rule; whether the drop names its hook. It may
/// not: the reset that the rule makes can take the place of the packet's trail, and then the hook is absent, never wrong.
fn by_a_rule(stage: &Stage, event: &Value, to: SocketAddr, hook: &str, flags: &str) -> Result<bool> {
    let dropped = stage.one(&drop_to("tcp", to))?;
    let told = !dropped["drop"]["hook"].is_null();
    let hook = told.then_some(hook);
    must(&dropped, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": hook, "tcp_flags": flags}}))?;
    let evidence = event["evidence"].as_array().context("no evidence")?;
    ensure!(evidence.contains(&dropped["id"]), "the evidence {evidence:?} does not name {}", dropped["id"]);
    Ok(told)
}

/// What is told of a connection that a rule refuses.
fn rejected() -> Value {
    json!({
        "cause": "rejected", "reason": null, "opener": "destination", "source_state": null,
        "destination_state": "SYN_SENT", "tcp_flags": "RST,ACK",
    })
}

fn in_forward(stage: &Stage) -> Result<()> {
    let mut told = false;
    for (ip, to) in stage.client.ips().into_iter().zip(both(&stage.db, REJECTED)) {
        refuse(&stage.client, to)?;
        let ends = [pod(&stage.db), pod(&stage.client)];
        let event = one_reset(stage, &reset(to, any_port(ip)), ends, &rejected())?;
        told |= by_a_rule(stage, &event, to, "FORWARD", "SYN")?;
    }
    ensure!(told, "neither drop names its hook");
    stage.expect(2, &json!({"kind": "reset"}))?;
    Ok(())
}

/// By an nft rule in FORWARD.
pub fn rejected_by_nft(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    reject_by_nft(&stage, "forward", REJECTED)?;
    in_forward(&stage)?;
    stage.finish_settled("one event each, with the drop as evidence")
}

fn by_iptables(context: &Context, backend: Backend) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    for ipv6 in [false, true] {
        let rule = format!("-I FORWARD -p tcp --dport {REJECTED} -j REJECT --reject-with tcp-reset");
        stage.node.iptables_with(backend, ipv6, &rule)?;
    }
    in_forward(&stage)?;
    stage.finish_settled("one event each, with the drop as evidence")
}

/// By an iptables rule in `nf_tables`.
pub fn rejected_by_iptables(context: &Context) -> Result<Outcome> {
    by_iptables(context, Backend::Nft)
}

/// By an iptables rule of the older kind.
pub fn rejected_by_iptables_legacy(context: &Context) -> Result<Outcome> {
    by_iptables(context, Backend::Legacy)
}

/// In INPUT: the host's firewall against a pod.
pub fn rejected_in_input(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    reject_by_nft(&stage, "input", REJECTED)?;
    let mut told = false;
    for (ip, to) in stage.client.ips().into_iter().zip(node_at(&stage, REJECTED)) {
        refuse(&stage.client, to)?;
        let ends = [node(), pod(&stage.client)];
        let event = one_reset(&stage, &reset(to, any_port(ip)), ends, &rejected())?;
        told |= by_a_rule(&stage, &event, to, "INPUT", "SYN")?;
    }
    ensure!(told, "neither drop names its hook");
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each, with the drop as evidence")
}

/// A rule that comes while a connection is there: its next packet ends it.
pub fn rejected_while_open(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let mut connections = Vec::new();
    for at in both(&stage.db, OPEN) {
        let connection = Connection::direct(&stage.client, &stage.db, at)?;
        connection.talk()?;
        connections.push((at, connection));
    }
    reject_by_nft(&stage, "forward", OPEN)?;
    let mut told = false;
    for (at, connection) in connections {
        let from = connection.client_address()?;
        let Connection { mut client, server, .. } = connection;
        client.write_all(b"still there?")?;
        is_reset(&mut client)?;
        let want = json!({"cause": "rejected", "opener": "destination", "destination_state": "ESTABLISHED"});
        let event = one_reset(&stage, &reset(at, from), [pod(&stage.db), pod(&stage.client)], &want)?;
        told |= by_a_rule(&stage, &event, at, "FORWARD", "ACK,PSH")?;
        // The server does not know that it is over, and its FIN would meet the rule no more than a reset would.
        crate::options::forget(server)?;
    }
    ensure!(told, "neither drop names its hook");
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("one event each: the living connection, and the rule")
}

/// A third pod sends a reset in the server's name: the source is who it is, not who it claims to be.
pub fn forged_by_another_pod(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let forger = stage.web.first().context("a web pod")?;
    for at in both(&stage.db, OPEN) {
        let connection = Connection::direct(&stage.client, &stage.db, at)?;
        connection.talk()?;
        let to = connection.client_address()?;
        let Connection { mut client, server, .. } = connection;
        let segment = Segment { sequence: next_expected(&client)?, acknowledgment: 0, flags: RST };
        let lie = packet::tcp(at, to, segment).context("a packet")?;
        forger.raw_sender(to)?.send(&lie)?;
        is_reset(&mut client)?;
        let claimed = stage.db.full_name();
        let want = json!({"opener": "destination", "destination_state": "ESTABLISHED", "tcp_flags": "RST"});
        let event = one_reset(&stage, &reset(at, to), [pod(forger), pod(&stage.client)], &want)?;
        must(&event, &json!({"source": {"ip_mismatch": true}}))?;
        let cause = event.pointer("/reset/cause").and_then(Value::as_str).unwrap_or_default();
        ensure!(["aborted", "unknown"].contains(&cause), "the cause is {cause}");
        let claims = event.pointer("/source/claims").map(ToString::to_string).unwrap_or_default();
        ensure!(claims.contains(&claimed), "the claim by address is missing: {claims}");
        crate::options::forget(server)?;
    }
    stage.expect(2, &json!({"kind": "reset"}))?;
    stage.finish_settled("the forger is named by its place, and whom it claims to be")
}
