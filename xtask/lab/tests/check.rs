//! `netobs check` tells what a daemon with the same arguments says of itself, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::process::Output;
use std::time::{Duration, Instant};

use netobs_lab::{Daemon, Node};
use serde_json::Value;

/// Runs it in the node's namespace.
fn run(node: &Node, arguments: &[&str]) -> Output {
    node.command(common::netobs()).arg("check").args(arguments).output().unwrap()
}

/// Features by name: state, means.
fn features(found: &Value) -> Vec<[String; 3]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let features = found["features"].as_array().unwrap();
    features.iter().map(|one| [text(&one["name"]), text(&one["state"]), text(&one["by"])]).collect()
}

/// What is on the node's interfaces.
fn qdiscs(node: &Node) -> String {
    String::from_utf8(node.command("tc").args(["qdisc", "show"]).output().unwrap().stdout).unwrap()
}

#[test]
fn it_tells_what_the_daemon_says() {
    if common::skip("check") {
        return;
    }
    let node = Node::new().unwrap();
    let before = qdiscs(&node);
    for without in ["", "tcx", "netfilter", "tcx,netfilter", "btf-tracepoint"] {
        let arguments: Vec<&str> = if without.is_empty() { Vec::new() } else { vec!["--without", without] };
        let checked = run(&node, &[&["-o", "json"], &arguments[..]].concat());
        let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(qdiscs(&node), before, "{without}: something stays");
        let daemon = arguments.iter().fold(Daemon::builder(common::netobs()), |builder, one| builder.arg(*one));
        let daemon = daemon.start(&node).unwrap();
        // How interfaces are attached is known a moment after the daemon is ready.
        let begin = Instant::now();
        let said = loop {
            let status = daemon.client().get_json("/v1/status").unwrap();
            if features(&status).iter().any(|[name, ..]| name == "interfaces") {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{}", daemon.log());
            std::thread::sleep(Duration::from_millis(50));
        };
        drop(daemon);
        assert_eq!(features(&told), features(&said), "--without {without}");
        let lacks = features(&told).iter().any(|[_, state, _]| state != "works");
        assert_eq!(checked.status.code(), Some(if lacks { 3 } else { 0 }), "--without {without}");
        for (switch, name) in [("tcx", "interfaces"), ("netfilter", "netfilter hooks")] {
            let lost = features(&told).iter().any(|[one, state, _]| one == name && state != "works");
            assert!(lost || !without.contains(switch), "--without {without}: {name} is said to work");
        }
        // A daemon without tcx leaves its filters' qdiscs, which is said; the next round has a fresh look.
        if without.contains("tcx") {
            break_down(&node);
        }
    }
}

/// Removes the qdiscs that filters needed.
fn break_down(node: &Node) {
    for line in qdiscs(node).lines().filter(|line| line.contains("clsact")) {
        let interface = line.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap();
        let done = node.command("tc").args(["qdisc", "del", "dev", interface, "clsact"]).status().unwrap();
        assert!(done.success(), "{line}");
    }
}

#[test]
fn without_rights_it_says_which() {
    if common::skip_without("check", &[("setpriv", "util-linux")]) {
        return;
    }
    let node = Node::new().unwrap();
    let setpriv = ["--inh-caps=-all", "--bounding-set=-all,+syslog"];
    let output = node.command("setpriv").args(setpriv).arg(common::netobs()).arg("check").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot run here: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN missing"), "{text}");
}
