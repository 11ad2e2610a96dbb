//! Starting a daemon, its client and the relay: with a program in the daemon's place that is none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobs_lab::{Client, Daemon, Node, PodSpec, Relay};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// A script that takes the daemon's arguments; `$socket` is the path it shall listen on.
fn script(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("fake-netobs");
    let find = "for a in \"$@\"; do [ \"$p\" = --unix-socket ] && socket=$a; p=$a; done";
    std::fs::write(&path, format!("#!/bin/sh\n{find}\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Answers every request with a body of two lines, the second after 200 ms.
const ANSWER: &str = r#"echo started
answer='read x; printf "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"n\":1}\n"; sleep 0.2; printf "{\"n\":2}\n"'
echo "$answer" > "$socket.sh"
exec socat "UNIX-LISTEN:$socket,fork" "EXEC:sh $socket.sh""#;

#[test]
fn a_daemon_is_started_asked_and_stopped() {
    if common::skip_without("daemon", &[("socat", "socat")]) {
        return;
    }
    let node = Node::new().unwrap();
    let mut daemon = Daemon::builder(script(node.directory(), ANSWER)).start(&node).unwrap();
    assert!(daemon.ready_after().unwrap() < 5 * SECOND);
    let netns = std::fs::read_link(format!("/proc/{}/ns/net", daemon.pid())).unwrap();
    assert_eq!(netns.to_string_lossy(), format!("net:[{}]", node.netns().inode()));
    let lines = daemon.client().stream("/v1/events/stream").unwrap();
    let first = lines.next(5 * SECOND).unwrap();
    let (second, value) = lines.find(5 * SECOND, |value| value["n"] == 2).unwrap();
    assert_eq!(value, json!({"n": 2}));
    assert!(second.at - first.at >= SECOND / 10, "arrival times are of the lines, not of the whole");
    assert!(lines.ended(5 * SECOND));
    let relay = Relay::start(([127, 0, 0, 1], 0).into(), daemon.socket()).unwrap();
    let answer = Client::tcp(relay.address()).get("/v1/status").unwrap();
    assert_eq!(answer.text(), "{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(daemon.log(), "started\n");
    daemon.terminate(5 * SECOND).unwrap();
    assert!(daemon.client().get("/").is_err());
}

#[test]
fn a_daemon_that_ends_at_once_is_an_error_with_its_log() {
    if common::skip("failing daemon") {
        return;
    }
    let node = Node::new().unwrap();
    let result = Daemon::builder(script(node.directory(), "echo no such kernel; exit 3")).start(&node);
    let text = format!("{:#}", result.unwrap_err());
    assert!(text.contains("no such kernel") && text.contains("exit status: 3"), "{text}");
    let sleepy = Daemon::builder(script(node.directory(), "exec sleep 60")).ready_within(SECOND / 5);
    assert!(format!("{:#}", sleepy.start(&node).unwrap_err()).contains("not ready"));
}

#[test]
fn the_metadata_file_is_a_kubectl_list() {
    if common::skip("metadata file") {
        return;
    }
    let node = Node::new().unwrap();
    let pod = node.add_pod(PodSpec::new("shop", "web").deployment("web")).unwrap();
    let path = node.write_metadata().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(list["kind"], "List");
    let pods: Vec<_> = list["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "Pod").collect();
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["status"]["podIPs"], json!([{"ip": pod.ipv4()}, {"ip": pod.ipv6()}]));
}
