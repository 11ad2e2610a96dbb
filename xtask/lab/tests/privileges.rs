//! What a running daemon's threads are still allowed to do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use netobs_lab::{Daemon, Node, PodSpec};
use serde_json::json;

/// Bits of capability sets (`include/uapi/linux/capability.h`).
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
/// Kernels before 5.19 may ask this of who looks into a map.
const BPF: u64 = 1 << 39;

/// Permitted sets of a process's threads, by the threads' names.
fn permitted(pid: u32) -> BTreeMap<String, BTreeSet<u64>> {
    let mut sets: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let set = u64::from_str_radix(&line("CapPrm:"), 16).unwrap();
        sets.entry(line("Name:")).or_default().insert(set & !BPF);
    }
    sets
}

#[test]
fn threads_keep_only_what_they_need() {
    if common::skip("privileges") {
        return;
    }
    let node = Node::new().unwrap();
    let daemon = Daemon::builder(common::netobs()).start(&node).unwrap();
    let expected = [
        ("netobs", 0),
        ("netobs-attach", NET_ADMIN),
        ("netobs-net", SYS_PTRACE),
        ("netobs-pipeline", 0),
        ("tokio-rt-worker", 0),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, set)| (name.to_owned(), BTreeSet::from([set]))).collect();
    assert_eq!(permitted(daemon.pid()), expected);
    let status = daemon.client().get_json("/v1/status").unwrap();
    let kept: Vec<_> = status["capabilities"].as_array().unwrap().iter().filter(|name| *name != "BPF").collect();
    assert_eq!(kept, [&json!("NET_ADMIN"), &json!("SYS_PTRACE")]);

    // That is enough for a pod that comes now.
    let pod = node.add_pod(PodSpec::new("shop", "late")).unwrap();
    let attached = |status: &serde_json::Value| {
        let interfaces = status["interfaces"].as_array().unwrap().clone();
        interfaces.into_iter().find(|one| one["name"] == pod.host_interface() && one["attached"] != json!([]))
    };
    let begin = std::time::Instant::now();
    while attached(&daemon.client().get_json("/v1/status").unwrap()).is_none() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
