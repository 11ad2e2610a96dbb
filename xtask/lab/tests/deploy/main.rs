//! What the plain manifests of `deploy/` promise, held against a running daemon: arguments, access rights, capabilities.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod manifest;
#[path = "../common/scraper.rs"]
mod scraper;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use manifest::Manifest;
use netobs_lab::{ApiServer, Daemon, DaemonBuilder, Node, PodSpec, Service, StreamingLists, Workload};
use serde_json::Value;

/// `NETOBS_BIN`, else `target/PROFILE/netobs`, seen from `target/PROFILE/deps/deploy-HASH`.
fn netobs() -> PathBuf {
    let beside = || std::env::current_exe().ok()?.parent()?.parent().map(|folder| folder.join("netobs"));
    std::env::var_os("NETOBS_BIN").map(PathBuf::from).or_else(beside).unwrap()
}

/// A node with pods of every kind of owner that the daemon tells apart.
fn node() -> Node {
    let node = Node::new().unwrap();
    for (name, workload) in [
        ("web-0", Workload::deployment("shop", "web")),
        ("report-1", Workload::cron_job("shop", "report")),
        ("once-1", Workload::direct("Job", "shop", "once")),
        ("bare-1", Workload::direct("ReplicaSet", "shop", "bare")),
        ("agent-1", Workload::direct("DaemonSet", "shop", "agent")),
        ("db-0", Workload::direct("StatefulSet", "shop", "db")),
        ("single", Workload::None),
    ] {
        node.add_pod(PodSpec::new("shop", name).workload(workload)).unwrap();
    }
    node.add_service(Service::new("shop", "web").tcp("http", 80, 8080)).unwrap();
    node
}

/// As the manifest starts it.
fn daemon(binary: impl Into<PathBuf>, manifest: &Manifest, api: &ApiServer) -> DaemonBuilder {
    let builder = Daemon::builder(binary).kubeconfig(api.kubeconfig());
    manifest.arguments().into_iter().fold(builder, DaemonBuilder::arg)
}

/// What the listener for metrics over the network is given by, and the chart's port of it.
const LISTEN: &str = "--metrics-listen=";
const METRICS_PORT: u16 = 7118;

/// A right: group, resource, verb.
type Right = (String, String, String);

/// What a request needs, as the API server's authorizer sees it; `None` for what every account may (`/version`).
fn right(request: &str) -> Option<Right> {
    let (method, uri) = request.split_once(' ').unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match parts.as_slice() {
        ["version"] => return None,
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => panic!("what is {request}?"),
    };
    let (resource, single) = match rest {
        ["namespaces", _, resource] | [resource] => (*resource, false),
        ["namespaces", _, resource, _] | [resource, _] => (*resource, true),
        _ => panic!("what is {request}?"),
    };
    let watch = query.split('&').any(|parameter| matches!(parameter, "watch=1" | "watch=true"));
    let verb = match (method, watch, single) {
        ("GET", true, _) => "watch",
        ("GET", false, true) => "get",
        ("GET", false, false) => "list",
        // A question that has to be posted. Nothing is stored.
        ("POST", _, false) if resource.ends_with("reviews") => "create",
        _ => panic!("nothing is written: {request}"),
    };
    Some((group.to_owned(), resource.to_owned(), verb.to_owned()))
}

/// Runs the daemon until it has looked up the owners, and scrapes it where it listens for that; what it asked for.
fn asked(manifest: &Manifest, extra: &[&str], streaming: StreamingLists) -> BTreeSet<Right> {
    let node = node();
    let api = ApiServer::start(&node).unwrap();
    api.streaming_lists(streaming);
    api.know_token("token-of-prometheus", "prometheus");
    api.allow_path("prometheus", "/metrics");
    let mut builder = extra.iter().fold(daemon(netobs(), manifest, &api), |builder, argument| builder.arg(*argument));
    let listener =
        manifest.arguments().into_iter().find_map(|argument| argument.strip_prefix(LISTEN).map(str::to_owned));
    let certificate = scraper::write_pair(&node);
    if listener.is_some() {
        for (argument, file) in [("--metrics-tls-cert", "tls.crt"), ("--metrics-tls-key", "tls.key")] {
            builder = builder.arg(argument).arg(node.directory().join(file));
        }
    }
    let daemon = builder.start(&node).unwrap();
    let on_all: Option<SocketAddr> = listener.map(|address| address.parse().unwrap());
    assert!(on_all.is_none_or(|address| address.ip().is_unspecified()), "{on_all:?}");
    let port = on_all.map_or(METRICS_PORT, |address| address.port());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if on_all.is_some() {
        let connection = scraper::tls(&node, address, &certificate).unwrap();
        let (status, head, body) = scraper::get(connection, "/metrics", Some("token-of-prometheus"));
        assert!(status == 200 && body.contains("\nnetobs_ready 1\n"), "{head}\n{body}");
    } else {
        let connected = node.tcp_connect(address, Duration::from_secs(1));
        assert!(connected.is_err(), "the manifest says nothing of {address}, and the daemon listens there");
    }
    // Two Jobs and a bare ReplicaSet: the look-ups come after the daemon is ready, one by one.
    let look_ups = || {
        let gets = api.requests().into_iter().filter_map(|it| right(&it)).filter(|(.., verb)| verb == "get");
        gets.count()
    };
    let begin = Instant::now();
    while look_ups() < 3 {
        assert!(begin.elapsed() < Duration::from_secs(10), "no look-ups of owners: {:?}", api.requests());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(daemon);
    api.requests().iter().filter_map(|request| right(request)).collect()
}

#[test]
fn the_cluster_role_is_exactly_what_is_asked() {
    if common::skip("access rights") {
        return;
    }
    let manifest = Manifest::plain();
    for extra in [&[][..], &["--watch-all-pods"]] {
        compare(&manifest, extra);
    }
}

/// All that is asked for is allowed, and all that is allowed is asked for.
fn compare(manifest: &Manifest, extra: &[&str]) {
    // Plain lists are made only where the server refuses streaming ones.
    let mut used = asked(manifest, extra, StreamingLists::Served);
    used.extend(asked(manifest, extra, StreamingLists::Refused));
    assert_eq!(used, manifest.rights(), "asked for (left) and allowed (right), with {extra:?}");
}

#[test]
fn reviews_are_asked_for_and_allowed_with_metrics_over_the_network_only() {
    if common::skip("access rights with metrics") {
        return;
    }
    let manifest = Manifest::with_metrics();
    compare(&manifest, &[]);
    let more: Vec<Right> = manifest.rights().difference(&Manifest::plain().rights()).cloned().collect();
    let create = |group: &str, resource: &str| (group.to_owned(), resource.to_owned(), "create".to_owned());
    let reviews =
        [create("authentication.k8s.io", "tokenreviews"), create("authorization.k8s.io", "subjectaccessreviews")];
    assert_eq!(more, reviews);
}

/// A program that starts the daemon with these capabilities and no others, and without a way to get more, as a container
/// runtime does it.
fn with_capabilities(directory: &Path, capabilities: &[String]) -> PathBuf {
    let set: Vec<String> = capabilities.iter().map(|name| format!(",+{}", name.to_lowercase())).collect();
    let path = directory.join(format!("netobs-{}", capabilities.len()));
    let body = format!(
        "#!/bin/sh\nexec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all{} {} \"$@\"\n",
        set.concat(),
        netobs().display()
    );
    std::fs::write(&path, body).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What the daemon says it sees, without what differs from run to run.
fn sees(binary: &Path, manifest: &Manifest, node: &Node, api: &ApiServer) -> Value {
    let daemon = daemon(binary, manifest, api).start(node).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let status = daemon.client().get_json("/v1/status").unwrap();
        let mut coverage = status["coverage"].as_array().unwrap().clone();
        coverage.sort_by_key(|pod| pod["pod"].as_str().unwrap().to_owned());
        let whole = coverage.iter().all(|pod| pod["interface"].is_string());
        // Which pod is where is found out after the daemon is ready; with too few rights it never is.
        if whole || Instant::now() > deadline {
            let functions_named = !daemon.log().contains("have no names");
            return serde_json::json!({
                "hooks": status["hooks"], "interfaces": status["interfaces"], "coverage": coverage,
                "functions_named": functions_named,
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_capabilities_are_enough_and_none_is_too_many() {
    if common::skip_without("capabilities", &[("setpriv", "util-linux")]) {
        return;
    }
    let manifest = Manifest::plain();
    let node = node();
    let api = ApiServer::start(&node).unwrap();
    let all = sees(&netobs(), &manifest, &node, &api);
    let capabilities = manifest.capabilities();
    let theirs = with_capabilities(node.directory(), &capabilities);
    assert_eq!(sees(&theirs, &manifest, &node, &api), all, "with {capabilities:?} it sees less than with all");
    for left_out in &capabilities {
        let rest: Vec<String> = capabilities.iter().filter(|name| *name != left_out).cloned().collect();
        let binary = with_capabilities(node.directory(), &rest);
        let mut daemon = daemon(&binary, &manifest, &api).launch(&node).unwrap();
        let begin = Instant::now();
        let missing = format!("CAP_{left_out} missing");
        while !daemon.log().contains(&missing) {
            assert!(begin.elapsed() < Duration::from_secs(10), "without {left_out}: {}", daemon.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // It refuses to start, or sees less.
        let starts = daemon.wait_ready(Duration::from_secs(20)).is_ok();
        drop(daemon);
        assert_eq!(starts, ["SYSLOG", "SYS_PTRACE"].contains(&left_out.as_str()), "without {left_out}");
        if starts {
            assert_ne!(sees(&binary, &manifest, &node, &api), all, "without {left_out} it sees the same");
        }
    }
}
