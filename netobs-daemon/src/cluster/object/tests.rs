//! The partial structs against recordings, whole and broken.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use kube::api::WatchEvent;
use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_line_of_a_recorded_watch_is_understood() {
    for (file, lines, bookmarks) in [("watch/watchlist-pods.jsonl", 70, 3), ("watch/pods.jsonl", 45, 1)] {
        let text = fixture(file);
        let events: Vec<WatchEvent<Pod>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), lines);
        assert_eq!(events.iter().filter(|it| matches!(it, WatchEvent::Bookmark(_))).count(), bookmarks);
        let pods = events.into_iter().filter_map(|event| match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod) => {
                Some(pod.record().unwrap())
            }
            _ => None,
        });
        assert!(pods.map(|pod| pod.malformed).all(|malformed| malformed == 0));
    }
    for line in fixture("watch/endpointslices.jsonl").lines() {
        serde_json::from_str::<WatchEvent<EndpointSlice>>(line).unwrap();
    }
    for line in fixture("watch/services.jsonl").lines() {
        serde_json::from_str::<WatchEvent<Service>>(line).unwrap();
    }
    let gone = fixture("errors/410-watch-old-rv.jsonl");
    assert!(
        matches!(serde_json::from_str::<WatchEvent<Pod>>(&gone), Ok(WatchEvent::Error(status)) if status.code == 410)
    );
}

#[test]
fn null_is_none_everywhere() {
    let bare = serde_json::json!({"metadata": null, "spec": null, "status": null});
    assert!(serde_json::from_value::<Pod>(bare.clone()).unwrap().record().is_none());
    assert!(serde_json::from_value::<Service>(bare.clone()).unwrap().record().is_none());
    assert!(serde_json::from_value::<Node>(bare).unwrap().record().is_none());
    let named = serde_json::json!({"metadata": {"name": "a", "namespace": "b", "uid": "u", "labels": null, "annotations": null,
        "ownerReferences": null}, "addressType": null, "endpoints": null, "ports": null,
        "spec": {"ports": null, "clusterIPs": null, "containers": null}, "status": {"podIPs": null, "addresses": null,
        "loadBalancer": null}});
    assert!(serde_json::from_value::<Pod>(named.clone()).unwrap().record().unwrap().ips.is_empty());
    assert!(serde_json::from_value::<Service>(named.clone()).unwrap().record().unwrap().ports.is_empty());
    assert!(serde_json::from_value::<EndpointSlice>(named.clone()).unwrap().record().unwrap().endpoints.is_empty());
    assert!(serde_json::from_value::<Node>(named).unwrap().record().unwrap().ips.is_empty());
}

#[test]
fn what_cannot_be_read_is_left_out_and_counted() {
    let service = serde_json::json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "x"],
        "ports": [{"port": 70000}, {"port": -1}, {"port": 1, "protocol": "DCCP"}, {"port": 2}]}});
    let service = serde_json::from_value::<Service>(service).unwrap().record().unwrap();
    assert_eq!((service.cluster_ips.len(), service.ports.len(), service.malformed), (1, 1, 4));
}

/// A fixture with some of its bytes changed, which stays UTF-8.
fn mutated(text: &str, changes: &[(prop::sample::Index, u8)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_lines_never_panic(
        line in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), b' '..=b'~'), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        for file in ["watch/pods.jsonl", "watch/endpointslices.jsonl", "watch/services.jsonl"] {
            let text = fixture(file);
            let line = text.lines().nth(line.index(text.lines().count())).unwrap();
            let text = mutated(line, &changes);
            let short: String = text.chars().take(cut.index(text.len()) + 1).collect();
            for text in [&text, &short] {
                if let Ok(WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it)) = serde_json::from_str::<WatchEvent<Pod>>(text) {
                    it.record();
                }
                if let Ok(WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it)) = serde_json::from_str::<WatchEvent<EndpointSlice>>(text) {
                    it.record();
                }
                if let Ok(WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it)) = serde_json::from_str::<WatchEvent<Service>>(text) {
                    it.record();
                }
                if let Ok(WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it)) = serde_json::from_str::<WatchEvent<Node>>(text) {
                    it.record();
                }
            }
        }
    }
}
