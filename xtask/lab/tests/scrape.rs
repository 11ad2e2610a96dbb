//! Metrics over the network: the real daemon, real TLS, and the lab's API server that decides who may read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
#[path = "common/scraper.rs"]
mod scraper;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use netobs_lab::{ApiServer, Daemon, Node, PodSpec};
use rustls::pki_types::CertificateDer;
use scraper::{Tls, write_pair};

const SECOND: Duration = Duration::from_secs(1);
const PROMETHEUS: &str = "system:serviceaccount:monitoring:prometheus";

struct Lab {
    // Fields drop in this order: the node last.
    daemon: Daemon,
    api: ApiServer,
    address: SocketAddr,
    node: Node,
}

fn lab() -> (Lab, CertificateDer<'static>) {
    let node = Node::new().unwrap();
    node.add_pod(PodSpec::new("shop", "web-0").deployment("web")).unwrap();
    let api = ApiServer::start(&node).unwrap();
    api.know_token("token-of-prometheus", PROMETHEUS);
    api.know_token("token-of-prometheus-2", PROMETHEUS);
    api.know_token("token-of-somebody", "somebody");
    api.allow_path(PROMETHEUS, "/metrics");
    let certificate = write_pair(&node);
    let daemon = Daemon::builder(common::netobs())
        .kubeconfig(api.kubeconfig())
        .env("NETOBS_METRICS_LISTEN", "127.0.0.1:0")
        .arg("--metrics-tls-cert")
        .arg(node.directory().join("tls.crt"))
        .arg("--metrics-tls-key")
        .arg(node.directory().join("tls.key"))
        .start(&node)
        .unwrap();
    let status = daemon.client().get_json("/v1/status").unwrap();
    let address = status["metrics_listener"]["address"].as_str().unwrap().parse().unwrap();
    (Lab { daemon, api, address, node }, certificate)
}

impl Lab {
    fn tcp(&self) -> TcpStream {
        scraper::tcp(&self.node, self.address)
    }

    fn tls(&self, trusted: &CertificateDer<'static>) -> std::io::Result<Tls> {
        scraper::tls(&self.node, self.address, trusted)
    }

    /// Status, head and body.
    fn get(&self, trusted: &CertificateDer<'static>, path: &str, token: Option<&str>) -> (u16, String, String) {
        scraper::get(self.tls(trusted).unwrap(), path, token)
    }

    fn status(&self, trusted: &CertificateDer<'static>, path: &str, token: &str) -> u16 {
        self.get(trusted, path, Some(token)).0
    }

    fn reviews(&self) -> usize {
        self.api.requests().iter().filter(|request| request.contains("tokenreviews")).count()
    }
}

/// Name, type and help of each family of the classic text format.
fn families(text: &str) -> BTreeMap<String, (String, String)> {
    let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.clone_into(&mut families.entry(name.to_owned()).or_default().1);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().0);
        }
    }
    families
}

/// The same of docs/metrics.md; `info` is a gauge in the classic format.
fn documented() -> BTreeMap<String, (String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let kind = if cells[2] == "info" { "gauge" } else { cells[2] };
        (cells[1].trim_matches('`').to_owned(), (kind.to_owned(), cells[5].to_owned()))
    })
    .collect()
}

/// `promtool check metrics`: every complaint is an error.
fn lint(text: &str) {
    let mut tool = std::process::Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut tool = tool.stdout(std::process::Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.is_empty(), "promtool says:\n{said}\nof\n{text}");
}

#[test]
fn the_cluster_decides_who_may_scrape() {
    if common::skip_without("scrape", &[]) {
        return;
    }
    let (lab, certificate) = lab();
    let (status, head, body) = lab.get(&certificate, "/metrics", Some("token-of-prometheus"));
    assert!(status == 200 && body.contains("\nnetobs_ready 1\n"), "{head}\n{body}");
    let (status, head, _) = lab.get(&certificate, "/metrics", None);
    assert!(status == 401 && head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-nobody"), 401);
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-somebody"), 403);
    for path in ["/", "/v1/events", "/v1/status", "/v1/events/stream", "/readyz"] {
        assert_eq!(lab.status(&certificate, path, "token-of-prometheus"), 404, "{path}");
    }
    // Each token once, and not at all for what needs no decision.
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-prometheus"), 200);
    assert_eq!(lab.reviews(), 3, "{:?}", lab.api.requests());

    lab.api.set_away(true).unwrap();
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-prometheus"), 200);
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-prometheus-2"), 503);
    lab.api.set_away(false).unwrap();
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-prometheus-2"), 200);
    // The daemon may not ask: that opens nothing either.
    lab.api.fail_with(Some((403, r#"{"kind":"Status","code":403,"message":"token-of-x"}"#)));
    assert_eq!(lab.status(&certificate, "/metrics", "token-of-x"), 503);
    let log = lab.daemon.log();
    assert!(log.contains("does not let this daemon create tokenreviews"), "{log}");
    assert!(!log.contains("token-of"), "a token is in the log: {log}");

    let metrics = lab.daemon.client().get("/metrics").unwrap().text();
    for (result, count) in [("served", 4), ("unauthenticated", 2), ("forbidden", 1), ("unavailable", 2), ("refused", 5)]
    {
        let line = format!("netobs_scrape_requests_total{{result=\"{result}\"}} {count}");
        assert!(metrics.lines().any(|one| one == line), "{line} in\n{metrics}");
    }
}

#[test]
fn the_listener_withstands_other_clients_and_follows_its_certificate() {
    if common::skip_without("scrape listener", &[]) {
        return;
    }
    let (lab, first) = lab();
    let (mut silent, since) = (lab.tcp(), Instant::now());
    let mut plain = lab.tcp();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: node-a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert or a reset, and the end.
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("netobs"), "{answer:?}");
    assert_eq!(lab.status(&first, "/metrics", "token-of-prometheus"), 200);

    let second = write_pair(&lab.node);
    while lab.tls(&second).is_err() {
        assert!(since.elapsed() < 20 * SECOND, "the new certificate is not in use: {}", lab.daemon.log());
        std::thread::sleep(SECOND / 10);
    }
    assert_eq!(lab.status(&second, "/metrics", "token-of-prometheus"), 200);
    assert!(lab.tls(&first).is_err());
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(since.elapsed() < 19 * SECOND, "who says nothing is closed");
}

#[test]
fn metrics_are_as_documented_and_as_prometheus_wants_them() {
    if common::skip_without("metrics", &[("promtool", "prometheus")]) {
        return;
    }
    let (lab, certificate) = lab();
    let (_, head, text) = lab.get(&certificate, "/metrics", Some("token-of-prometheus"));
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    lint(&text);
    assert_eq!(families(&text), documented());
}

#[test]
fn nobody_to_decide_is_a_mistake_that_is_told() {
    if common::skip_without("scrape without API server", &[]) {
        return;
    }
    let node = Node::new().unwrap();
    let builder = Daemon::builder(common::netobs()).arg("--no-metadata").arg("--metrics-listen").arg("127.0.0.1:0");
    let error = format!("{:#}", builder.start(&node).unwrap_err());
    assert!(error.contains("only the cluster can say who may read the metrics over the network"), "{error}");
}

#[test]
fn without_files_it_signs_for_itself() {
    if common::skip_without("self-signed", &[]) {
        return;
    }
    let node = Node::new().unwrap();
    let api = ApiServer::start(&node).unwrap();
    let builder = Daemon::builder(common::netobs()).kubeconfig(api.kubeconfig());
    let mut daemon = builder.arg("--metrics-listen").arg("127.0.0.1:0").start(&node).unwrap();
    let status = daemon.client().get_json("/v1/status").unwrap();
    assert_eq!(status["metrics_listener"]["certificate"], "self-signed");
    assert!(status["metrics_listener"]["certificate_expires"].is_string(), "{status}");
    assert!(daemon.terminate(5 * SECOND).unwrap().success());
}
