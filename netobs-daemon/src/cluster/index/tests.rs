//! The index against recordings of a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::cluster::object::{EndpointSlice, Node, Pod as WirePod, Service as WireService};
use crate::resolve::{Directory, IpOwner};

const S: u64 = 1_000_000_000;
const ALWAYS: Seen = Seen { earliest: 0, at: 0 };

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn object(kind: Kind, value: Value) -> Object {
    let object = match kind {
        Kind::Pod => serde_json::from_value::<WirePod>(value).unwrap().record().map(Object::Pod),
        Kind::Service => serde_json::from_value::<WireService>(value).unwrap().record().map(Object::Service),
        Kind::EndpointSlice => {
            serde_json::from_value::<EndpointSlice>(value).unwrap().record().map(Object::EndpointSlice)
        }
        Kind::Node => serde_json::from_value::<Node>(value).unwrap().record().map(Object::Node),
    };
    object.unwrap()
}

fn listed(kind: Kind, file: &str) -> Vec<Object> {
    let mut list: Value = serde_json::from_str(&fixture(file)).unwrap();
    list["items"].as_array_mut().unwrap().drain(..).map(|item| object(kind, item)).collect()
}

/// The index after all lists, with the pods of one file.
fn index(pods: &str) -> Index {
    let mut index = Index::default();
    index.replace(Kind::Pod, listed(Kind::Pod, pods), ALWAYS);
    index.replace(Kind::Service, listed(Kind::Service, "lists/services.json"), ALWAYS);
    index.replace(Kind::EndpointSlice, listed(Kind::EndpointSlice, "lists/endpointslices.json"), ALWAYS);
    index.replace(Kind::Node, listed(Kind::Node, "lists/nodes.json"), ALWAYS);
    index
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owner(snapshot: &Snapshot, address: &str, boot_ns: u64) -> String {
    match snapshot.ip_owner(ip(address), boot_ns) {
        IpOwner::Pod(pod, _) => {
            let workload = pod.workload.as_ref().map_or("-".into(), |it| format!("{} {}", it.kind, it.name));
            format!("{}/{} {} {workload}", pod.namespace, pod.name, pod.node.as_deref().unwrap_or("?"))
        }
        IpOwner::Node(name) => format!("node {name}"),
        IpOwner::Ambiguous => "ambiguous".into(),
        IpOwner::Unknown => "unknown".into(),
    }
}

fn check(snapshot: &Snapshot, boot_ns: u64, expected: &[(&str, &str)]) {
    for (address, name) in expected {
        assert_eq!(owner(snapshot, address, boot_ns), *name, "{address} at {boot_ns}");
    }
}

/// Feeds a recorded watch, one line a second from `start` on; looks at the index after each.
fn replay(index: &mut Index, kind: Kind, file: &str, start: u64, mut after: impl FnMut(usize, u64, &mut Index)) {
    for (n, line) in fixture(file).lines().enumerate() {
        let at = start + n as u64 * S;
        let seen = Seen { earliest: at - 2 * S, at };
        let mut event: Value = serde_json::from_str(line).unwrap();
        match event["type"].as_str().unwrap() {
            "ADDED" | "MODIFIED" => index.apply(object(kind, event["object"].take()), seen),
            "DELETED" => index.delete(kind, object(kind, event["object"].take()).key(), seen),
            _ => continue,
        }
        index.expire(at);
        after(n, at, index);
    }
}

#[test]
fn all_pods_by_address() {
    let snapshot = index("lists/pods.json").snapshot();
    assert!(!snapshot.is_empty());
    check(
        &snapshot,
        S,
        &[
            ("10.244.9.11", "shop/web-84c8466765-54cgb node-a Deployment web"),
            ("::ffff:10.244.9.11", "shop/web-84c8466765-54cgb node-a Deployment web"),
            ("fd00:10:244:9::b", "shop/web-84c8466765-54cgb node-a Deployment web"),
            ("10.244.2.10", "shop/api-79bb457fbf-6tzsn node-b Deployment api"),
            ("10.244.9.7", "payments/db-0 node-a StatefulSet db"),
            ("fd00:10:244:2::40", "staging/v6only node-b -"),
            // Being deleted: still there. Pending with an address: there.
            ("10.244.2.30", "shop/terminating node-b -"),
            ("10.244.9.6", "staging/noimage node-a -"),
            // Finished, failed and evicted pods have given their address back.
            ("10.244.9.10", "unknown"),
            ("10.244.9.9", "unknown"),
            ("10.244.2.31", "unknown"),
            // hostNetwork pods share the node's.
            ("172.18.0.2", "node node-a"),
            ("fd00:172:18::2", "node node-a"),
            ("172.18.0.4", "node node-c"),
            ("172.18.0.9", "unknown"),
        ],
    );
}

#[test]
fn remote_pods_by_their_endpoint_slices() {
    let mut index = index("lists/pods-node-a.json");
    check(
        &index.snapshot(),
        S,
        &[
            ("10.244.2.10", "shop/api-79bb457fbf-6tzsn node-b -"),
            ("fd00:10:244:2::40", "staging/v6only node-b -"),
            ("10.244.9.11", "shop/web-84c8466765-54cgb node-a Deployment web"),
            // Its slice names it until it is gone.
            ("10.244.2.30", "shop/terminating node-b -"),
            // An endpoint that is no pod, and a pod of another node that no Service selects.
            ("192.0.2.50", "unknown"),
            ("10.244.2.31", "unknown"),
        ],
    );
    // Without the node list, hostNetwork pods still tell which addresses are nodes'.
    index.replace(Kind::Node, Vec::new(), Seen { earliest: 2 * S, at: 3 * S });
    check(&index.snapshot(), 4 * S, &[("172.18.0.2", "node node-a"), ("172.18.0.4", "unknown")]);
    // Two addresses in the recording have a letter too many; they are left out, and counted.
    assert_eq!(index.counters(), IndexCounters { malformed: 2, ..IndexCounters::default() });
}

#[test]
fn services_by_address_and_port() {
    let snapshot = index("lists/pods.json").snapshot();
    let name = |address: &str, protocol: u8, port: Option<u16>| {
        let service = snapshot.service(ip(address), protocol, port)?;
        Some(format!("{}/{} {}", service.namespace, service.name, service.port_name.as_deref().unwrap_or("-")))
    };
    for (address, protocol, port, expected) in [
        ("10.96.0.53", 17, Some(53), Some("kube-system/kube-dns dns")),
        ("10.96.0.53", 6, Some(53), Some("kube-system/kube-dns dns-tcp")),
        ("10.96.0.53", 6, Some(54), Some("kube-system/kube-dns -")),
        ("10.96.0.10", 6, Some(80), Some("shop/web http")),
        ("fd00:10:96::6170", 6, Some(9100), Some("shop/web metrics")),
        ("10.96.0.16", 6, Some(80), Some("shop/web-itp-local -")),
        ("198.51.100.7", 6, Some(8000), Some("shop/web-external-ip http")),
        ("203.0.113.10", 6, Some(80), Some("shop/web-lb http")),
        ("203.0.113.11", 6, None, Some("shop/web-lb-local -")),
        ("10.96.0.40", 132, Some(3868), Some("staging/sctp diam")),
        ("10.96.0.99", 1, None, Some("shop/dead -")),
        ("10.244.9.11", 6, Some(8080), None),
    ] {
        assert_eq!(name(address, protocol, port).as_deref(), expected, "{address} {protocol} {port:?}");
    }
}

#[test]
fn a_shared_external_address_is_told_by_the_port() {
    let service = |name: &str, port: u16| {
        object(
            Kind::Service,
            serde_json::json!({"metadata": {"namespace": "a", "name": name}, "spec": {"externalIPs": ["198.51.100.7"],
                "ports": [{"port": port}]}}),
        )
    };
    let mut index = Index::default();
    let find = |index: &Index, port| index.snapshot().service(ip("198.51.100.7"), 6, port).map(|it| it.name.clone());
    index.apply(service("one", 80), ALWAYS);
    assert_eq!(find(&index, Some(1)).as_deref(), Some("one"));
    index.apply(service("two", 443), ALWAYS);
    assert_eq!(find(&index, Some(80)).as_deref(), Some("one"));
    assert_eq!(find(&index, Some(443)).as_deref(), Some("two"));
    assert_eq!(find(&index, Some(1)), None);
    index.apply(service("two", 80), ALWAYS);
    assert_eq!(find(&index, Some(80)), None, "two Services, one port");
    let keys = [Key { namespace: "a".into(), name: "two".into() }];
    index.delete(Kind::Service, &keys[0], ALWAYS);
    // The address is a node's as well: only the Service's own port is the Service's.
    let node = serde_json::json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "198.51.100.7"}]}});
    index.apply(object(Kind::Node, node), ALWAYS);
    assert_eq!((find(&index, Some(80)).as_deref(), find(&index, Some(22))), (Some("one"), None));
}

#[test]
fn a_static_pod_by_its_config_hash() {
    let mut index = index("lists/pods.json");
    let list: Value = serde_json::from_str(&fixture("lists/pods.json")).unwrap();
    let mirror =
        list["items"].as_array().unwrap().iter().find(|it| it["metadata"]["name"] == "edge-proxy-node-a").unwrap();
    let hash = mirror["metadata"]["annotations"]["kubernetes.io/config.hash"].as_str().unwrap().to_owned();
    let pod = index.snapshot().pod_by_uid(&hash).unwrap();
    assert_eq!((pod.name.as_str(), pod.uid.as_deref()), ("edge-proxy-node-a", mirror["metadata"]["uid"].as_str()));
    assert_eq!(pod.workload, None, "the node is no workload");
    let key = Key { namespace: "kube-system".into(), name: "edge-proxy-node-a".into() };
    index.delete(Kind::Pod, &key, Seen { earliest: 0, at: 10 * S });
    index.expire(10 * S + HISTORY_NS - 1);
    assert!(index.snapshot().pod_by_uid(&hash).is_some(), "late events of a pod that is gone");
    index.expire(10 * S + HISTORY_NS);
    assert!(index.snapshot().pod_by_uid(&hash).is_none());
}

#[test]
fn an_address_reused_by_another_pod() {
    let mut index = index("lists/pods.json");
    let start = 1_000 * S;
    let mut steps = 0;
    replay(&mut index, Kind::Pod, "watch/pods.jsonl", start, |n, _, index| {
        let at = |line: u64| start + line * S;
        let snapshot = index.snapshot();
        let expected: &[(u64, &str)] = match n {
            2 => &[(at(2), "unknown")],
            4 => &[(at(0), "unknown"), (at(1), "staging/reuse-1 node-b -"), (at(4), "staging/reuse-1 node-b -")],
            // Gone at 5, the successor reports at 9.
            6 => &[(at(4), "staging/reuse-1 node-b -"), (at(5), "unknown"), (at(6), "unknown")],
            9 => &[
                (at(4), "staging/reuse-1 node-b -"),
                (at(5), "unknown"),
                (at(7), "staging/reuse-2 node-b -"),
                (at(9), "staging/reuse-2 node-b -"),
            ],
            43 => &[(at(4), "staging/reuse-1 node-b -"), (at(31), "staging/reuse-2 node-b -"), (at(32), "unknown")],
            _ => return,
        };
        steps += 1;
        for (time, name) in expected {
            assert_eq!(owner(&snapshot, "10.244.2.77", *time), *name, "after line {n}, at {}", (time - start) / S);
        }
    });
    assert_eq!(steps, 5);
}

#[test]
fn a_watch_of_pods_to_its_end() {
    let mut index = index("lists/pods.json");
    replay(&mut index, Kind::Pod, "watch/pods.jsonl", 1_000 * S, |_, _, _| {});
    check(
        &index.snapshot(),
        1_050 * S,
        &[
            // Failed, then deleted.
            ("10.244.9.16", "unknown"),
            ("10.244.9.17", "shop/web-84c8466765-2ph2x node-a Deployment web"),
            // Its Job ran to the end.
            ("10.244.9.18", "unknown"),
            ("10.244.9.11", "shop/web-84c8466765-54cgb node-a Deployment web"),
        ],
    );
    assert_eq!(index.objects(Kind::Pod), 23 + 2 - 1);
    index.replace(Kind::Pod, listed(Kind::Pod, "lists/pods.json"), Seen { earliest: 1_058 * S, at: 1_060 * S });
    assert_eq!(index.objects(Kind::Pod), 23);
    check(&index.snapshot(), 1_061 * S, &[("10.244.9.17", "unknown")]);
    check(&index.snapshot(), 1_057 * S, &[("10.244.9.17", "shop/web-84c8466765-2ph2x node-a Deployment web")]);
    assert_eq!(index.counters().over_limit, 0);
}

#[test]
fn watches_of_slices_and_services() {
    let mut index = index("lists/pods-node-a.json");
    let mut named = 0;
    replay(&mut index, Kind::EndpointSlice, "watch/endpointslices.jsonl", 1_000 * S, |n, at, index| {
        if n == 1 {
            check(&index.snapshot(), at, &[("10.244.9.16", "staging/short node-a -")]);
            named += 1;
        }
    });
    assert_eq!(named, 1);
    check(
        &index.snapshot(),
        1_060 * S,
        &[("10.244.9.16", "unknown"), ("10.244.2.11", "shop/api-79bb457fbf-cpkpq node-b -")],
    );
    let before = index.objects(Kind::Service);
    replay(&mut index, Kind::Service, "watch/services.jsonl", 1_100 * S, |n, _, index| {
        assert_eq!(index.objects(Kind::Service), before + usize::from(n < 2));
    });
}

#[test]
fn the_owners_of_jobs_are_asked_for_once() {
    let mut index = index("lists/pods.json");
    replay(&mut index, Kind::Pod, "watch/pods.jsonl", 1_000 * S, |_, _, _| {});
    let mut queries: Vec<OwnerQuery> = std::iter::from_fn(|| index.next_wanted()).collect();
    queries.sort_by(|a, b| a.owner.name.cmp(&b.owner.name));
    let names: Vec<&str> = queries.iter().map(|query| query.owner.name.as_str()).collect();
    assert_eq!(names, ["import", "migrate", "report-29924202", "report-29924203"]);
    let pod_of = |index: &Index, name: &str| {
        let entry = index.pods.iter().find(|(key, _)| key.name.starts_with(name)).unwrap().1;
        index.snapshot().pod_by_uid(&entry.record.uid).unwrap().workload.clone().unwrap()
    };
    assert_eq!(pod_of(&index, "report-29924203").kind, "Job");
    index.learn_owner(&queries[3].owner.uid, Some(Workload { kind: "CronJob".into(), name: "report".into() }));
    index.learn_owner(&queries[1].owner.uid, None);
    assert_eq!(pod_of(&index, "report-29924203"), Workload { kind: "CronJob".into(), name: "report".into() });
    assert_eq!(pod_of(&index, "migrate"), Workload { kind: "Job".into(), name: "migrate".into() });
    index.replace(Kind::Pod, listed(Kind::Pod, "lists/pods.json"), ALWAYS);
    assert_eq!(index.next_wanted(), None, "known or on its way");
}

#[test]
fn a_replica_set_without_the_label_is_asked_for() {
    let pod = |hash: Option<&str>| {
        object(
            Kind::Pod,
            serde_json::json!({"metadata": {"namespace": "a", "name": "p", "uid": "u", "labels": {"pod-template-hash": hash},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "r", "controller": true}]}}),
        )
    };
    for (hash, workload, asked) in [
        (Some("abc"), "Deployment web", false),
        (Some("other"), "ReplicaSet web-abc", true),
        (Some(""), "ReplicaSet web-abc", true),
        (None, "ReplicaSet web-abc", true),
    ] {
        let mut index = Index::default();
        index.apply(pod(hash), ALWAYS);
        let found = index.snapshot().pod_by_uid("u").unwrap().workload.clone().unwrap();
        assert_eq!((format!("{} {}", found.kind, found.name), index.next_wanted().is_some()), (workload.into(), asked));
    }
}

/// One change: an object of one of a few names, with addresses out of a few.
fn change() -> impl Strategy<Value = (Kind, bool, Value)> {
    let ip = (1..6_u8).prop_map(|n| format!("10.0.0.{n}"));
    let ips = prop::collection::vec(ip, 0..4);
    let phase = prop::sample::select(vec!["Pending", "Running", "Succeeded"]);
    (0..4_usize, any::<bool>(), 0..4_u8, 0..3_u8, ips, phase, any::<bool>()).prop_map(
        |(kind, delete, name, uid, ips, phase, host)| {
            let pods: Vec<Value> = ips.iter().map(|ip| serde_json::json!({"ip": ip})).collect();
            let nodes: Vec<Value> =
                ips.iter().map(|ip| serde_json::json!({"type": "InternalIP", "address": ip})).collect();
            let endpoint = |ip| serde_json::json!({"addresses": [ip], "targetRef": {"kind": "Pod", "name": format!("n{name}"),
                "uid": format!("u{name}{uid}")}});
            let endpoints: Vec<Value> = ips.iter().map(endpoint).collect();
            let value = serde_json::json!({
                "metadata": {"name": format!("n{name}"), "namespace": "a", "uid": format!("u{name}{uid}"), "ownerReferences":
                    [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]},
                "spec": {"nodeName": "node", "hostNetwork": host, "clusterIPs": ips, "externalIPs": ips},
                "status": {"phase": phase, "podIPs": pods, "addresses": nodes},
                "addressType": "IPv4", "endpoints": endpoints,
            });
            (Kind::ALL[kind], delete, value)
        },
    )
}

proptest! {
    /// Whatever came before: an address belongs to who claims it now, and nothing stays behind when all is gone.
    #[test]
    fn claims_balance(changes in prop::collection::vec(change(), 0..60), learnt in 0..60_usize) {
        let mut index = Index::default();
        for (n, (kind, delete, value)) in changes.into_iter().enumerate() {
            let seen = Seen { earliest: n as u64 * S, at: n as u64 * S };
            let object = object(kind, value);
            if delete {
                index.delete(kind, object.key(), seen);
            } else {
                index.apply(object, seen);
            }
            if n == learnt {
                index.learn_owner("j", Some(Workload { kind: "CronJob".into(), name: "c".into() }));
            }
        }
        let snapshot = index.snapshot();
        let after = 100 * S;
        for n in 1..6 {
            let ip = ip(&format!("10.0.0.{n}"));
            let live: HashSet<&str> = index.pods.values()
                .filter(|it| it.record.ips.contains(&ip) && !it.record.finished && !it.record.host_network)
                .map(|it| it.record.uid.as_str()).collect();
            match snapshot.ip_owner(ip, after) {
                IpOwner::Pod(pod, _) if !live.is_empty() => prop_assert_eq!(live, HashSet::from([pod.uid.as_deref().unwrap()])),
                IpOwner::Node(_) | IpOwner::Unknown => prop_assert!(live.is_empty()),
                IpOwner::Pod(..) | IpOwner::Ambiguous => {}
            }
        }
        for kind in Kind::ALL {
            index.replace(kind, Vec::new(), Seen { earliest: after, at: after });
        }
        index.expire(after + HISTORY_NS);
        prop_assert!(index.snapshot().is_empty());
        prop_assert!(index.claims.claims.is_empty() && index.by_address.is_empty() && index.by_uid.len() == 0);
    }
}
