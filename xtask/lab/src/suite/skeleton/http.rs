//! The HTTP endpoint: what it refuses and how, and what it says about the daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Client;
use crate::suite::json::{must, number, text};
use crate::suite::{Context, Outcome, Stage};

/// Writes bytes to the daemon's socket and returns what comes until it closes, or for a moment.
fn raw(stage: &Stage, bytes: &[u8]) -> Result<String> {
    let mut socket = UnixStream::connect(stage.daemon.socket())?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.set_write_timeout(Some(Duration::from_secs(2)))?;
    // It may hang up before it has read everything.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Garbage, too much, wrong parameters, wrong hosts.
pub fn hostile_http(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let hostile: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"\0\0\0\0\xff\xff\xff\xff\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET /v1/events?kind=\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in hostile {
        let answer = raw(&stage, bytes)?;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "to {shown:?}: {answer}");
    }
    for (query, parameter) in [
        ("kind=cheese", "kind"),
        ("limit=0", "limit"),
        ("limit=99999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("since=yesterday", "since"),
        ("severity=bad", "severity"),
        ("cursor=%00%ff", "cursor"),
        ("frobnicate=1", "frobnicate"),
        ("pod=a/b/c", "pod"),
    ] {
        let answer = stage.client().get(&format!("/v1/events?{query}"))?;
        ensure!(answer.status == 400, "{query}: {} {}", answer.status, answer.text());
        must(&answer.json()?, &json!({"status": 400, "parameter": parameter}))?;
    }
    let answer = stage.client().get("/v1/events/stream?after=nonsense")?;
    ensure!(answer.status == 400, "after=nonsense: {} {}", answer.status, answer.text());
    let answer = stage.client().request("DELETE", "/v1/events")?;
    ensure!(answer.status == 405, "DELETE: {}", answer.status);
    let tcp = Client::tcp_in(&stage.node, "127.0.0.1:7117".parse()?);
    ensure!(tcp.get("/healthz")?.status == 200, "TCP does not work");
    for host in ["evil.example", "127.0.0.1.evil.example:7117", ""] {
        let answer = tcp.clone().header("host", host).get("/v1/events")?;
        ensure!(answer.status == 403 || host.is_empty() && answer.status == 400, "host {host:?}: {}", answer.status);
    }
    ensure!(stage.client().get("/healthz")?.status == 200, "it is not healthy any more");
    stage.finish("refused with 400, 403 and 405, each wrong parameter named")
}

/// What it says when all is well.
pub fn readyz_and_status(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    must(&stage.client().get_json("/readyz")?, &json!({"ready": true}))?;
    let status = stage.status()?;
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let hooks = list("hooks");
    let unattached: Vec<_> = hooks.iter().filter(|hook| hook["attached"] != true).collect();
    ensure!(unattached.is_empty() && hooks.len() >= 11, "{} hooks, not attached: {unattached:?}", hooks.len());
    let both = json!(["ingress", "egress"]);
    let mut kinds: Vec<String> = Vec::new();
    for interface in list("interfaces") {
        ensure!(interface["attached"] == both, "not attached: {interface}");
        kinds.push(text(&interface, "/kind").to_owned());
    }
    kinds.sort();
    ensure!(kinds == ["bridge", "loopback", "pod", "pod", "pod", "pod", "pod", "uplink"], "kinds are {kinds:?}");
    let coverage = list("coverage");
    for pod in stage.node.pods() {
        let covered = coverage.iter().find(|covered| covered["pod"] == pod.name());
        let covered = covered.with_context(|| format!("{} is not covered: {coverage:?}", pod.full_name()))?;
        must(covered, &json!({"namespace": pod.namespace(), "interface": pod.host_interface()}))?;
    }
    must(&status, &json!({"node": "node-a", "metadata": {"source": "api-server", "synced": true, "pods": 5}}))?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(text(&status, "/kernel") == release.trim(), "kernel is {}", status["kernel"]);
    ensure!(!text(&status, "/version").is_empty(), "no version");
    ensure!(number(&status, "/bpf_map_bytes") > 0 && number(&status, "/resident_bytes") > 0, "no memory figures");
    let metrics = stage.client().get("/metrics")?.text();
    ensure!(metrics.contains("\n# TYPE netobs_events_total counter\n"), "metrics are not in the text format 0.0.4");
    ensure!(stage.client().get_json("/openapi.json")?["paths"]["/v1/events"] != Value::Null, "no OpenAPI");
    let ready = stage.daemon.ready_after().unwrap_or_default();
    stage.finish(format!("{} hooks, ready after {} ms", hooks.len(), ready.as_millis()))
}
