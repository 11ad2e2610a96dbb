//! The metadata file: what it may hold, and what a hostile one cannot do.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// As kubectl prints several types: one v1 List, each item with its kind.
fn mixed() -> Value {
    let mut items = Vec::new();
    for (file, kind) in [
        ("pods", "Pod"),
        ("services", "Service"),
        ("nodes", "Node"),
        ("endpointslices", "EndpointSlice"),
        ("jobs", "Job"),
    ] {
        let list: Value = serde_json::from_slice(&fixture(&format!("lists/{file}.json"))).unwrap();
        for item in list["items"].as_array().unwrap() {
            let mut item = item.clone();
            item["kind"] = kind.into();
            items.push(item);
        }
    }
    serde_json::json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

fn count(contents: &Contents, kind: Kind) -> usize {
    contents.objects.iter().filter(|it| it.kind() == kind).count()
}

#[test]
fn a_list_of_mixed_types() {
    let contents = parse(&serde_json::to_vec(&mixed()).unwrap()).unwrap();
    assert_eq!(Kind::ALL.map(|kind| count(&contents, kind)), [23, 20, 20, 3]);
    let cron = contents.owners.iter().filter_map(|(_, workload)| workload.as_ref()).find(|it| it.kind == "CronJob");
    assert_eq!(cron.unwrap().name, "report");
}

#[test]
fn a_plain_list_of_one_type() {
    let contents = parse(&fixture("lists/services.json")).unwrap();
    assert_eq!(count(&contents, Kind::Service), contents.objects.len());
    assert!(parse(&fixture("lists/replicasets.json")).unwrap().objects.is_empty());
}

#[test]
fn errors_say_which_item_and_what() {
    for (text, expected) in [
        ("", "not a Kubernetes list in JSON"),
        ("[1]", "not a Kubernetes list in JSON"),
        (r#"{"kind":"Pod","metadata":{}}"#, "kind \"Pod\" has no items"),
        (
            r#"{"kind":"List","items":[{"kind":"Node","metadata":{"name":"n"}},7]}"#,
            "item 1 (kind ?, ?/?): it has no kind",
        ),
        (
            r#"{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"p","namespace":"a","uid":"u"},"status":{"podIPs":7}}]}"#,
            "item 0 (kind Pod, a/p): invalid type: integer `7`",
        ),
        (
            r#"{"kind":"PodList","items":[{"metadata":{"name":"p","namespace":"a"}}]}"#,
            "item 0 (kind Pod, a/p): it has no metadata.name or",
        ),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_hostile_file_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = fixture("lists/services.json");
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let _ = parse(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = parse(&bytes);
        let _ = parse(&noise);
    }

    #[test]
    fn any_json_in_any_place_never_panics(place in 0..6_usize, value in json()) {
        let mut item = serde_json::json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "a", "uid": "u"}, "spec": {}, "status": {}});
        let path = ["/metadata", "/metadata/name", "/spec", "/status", "/kind", ""][place];
        *item.pointer_mut(path).unwrap() = value.clone();
        for kind in ["List", "PodList", "NodeList", "EndpointSliceList", "ServiceList"] {
            let list = serde_json::json!({"kind": kind, "items": [item, value]});
            let _ = parse(&serde_json::to_vec(&list).unwrap());
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.:]{0,20}".prop_map(Value::from),
    ];
    let key =
        prop::sample::select(vec!["name", "kind", "podIPs", "ip", "addresses", "ports", "port", "endpoints", "labels"]);
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}
