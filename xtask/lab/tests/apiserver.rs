//! The API server: list and watch as clients use them, and its misbehaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::time::Duration;

use netobs_lab::{ApiServer, Client, Node, PodSpec, Service, StreamingLists};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const PODS: &str = "/api/v1/pods";
const STREAMING: &str = "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                         &allowWatchBookmarks=true&timeoutSeconds=30";

fn lab() -> (Node, ApiServer, Client) {
    let node = Node::new().unwrap();
    node.add_pod(PodSpec::new("shop", "web-0").deployment("web")).unwrap();
    node.add_pod(PodSpec::new("shop", "client")).unwrap();
    node.add_service(Service::new("shop", "web").tcp("http", 80, 8080)).unwrap();
    let api = ApiServer::start(&node).unwrap();
    let client = api.client(&node);
    (node, api, client)
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[test]
fn lists_selects_and_pages() {
    if common::skip("lists") {
        return;
    }
    let (node, api, client) = lab();
    let list = client.get_json(PODS).unwrap();
    assert_eq!(list["kind"], "PodList");
    assert_eq!(names(&list), ["client", "web-0"]);
    assert!(list["items"][0].get("kind").is_none(), "items carry no kind");
    let own = client.get_json(&format!("{PODS}?fieldSelector=spec.nodeName%3D{}", node.name())).unwrap();
    assert_eq!(names(&own).len(), 2);
    assert_eq!(names(&client.get_json(&format!("{PODS}?fieldSelector=spec.nodeName%3Dother")).unwrap()).len(), 0);
    let first = client.get_json(&format!("{PODS}?limit=1")).unwrap();
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["client"], &json!(1)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get_json(&format!("{PODS}?limit=1&continue={token}")).unwrap();
    assert_eq!(names(&second), ["web-0"]);
    assert!(second["metadata"].get("continue").is_none());
    api.compact();
    assert_eq!(client.get(&format!("{PODS}?continue={token}")).unwrap().status, 410);
    let slices = client.get_json("/apis/discovery.k8s.io/v1/endpointslices").unwrap();
    assert_eq!(names(&slices), ["web-ipv4", "web-ipv6"]);
    assert_eq!(slices["items"][0]["endpoints"][0]["targetRef"]["name"], "web-0");
}

#[test]
fn owners_are_there_as_partial_metadata() {
    if common::skip("partial metadata") {
        return;
    }
    let (_node, _api, client) = lab();
    let pod = client.get_json("/api/v1/namespaces/shop/pods/web-0").unwrap();
    let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str().unwrap();
    let partial = client.header("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let set = partial.get_json(&format!("/apis/apps/v1/namespaces/shop/replicasets/{owner}")).unwrap();
    assert_eq!(set["kind"], "PartialObjectMetadata");
    assert_eq!(set["metadata"]["ownerReferences"][0]["name"], "web");
    assert_eq!(set["metadata"]["ownerReferences"][0]["kind"], "Deployment");
    assert_eq!(partial.get("/apis/apps/v1/namespaces/shop/replicasets/none").unwrap().status, 404);
}

#[test]
fn watches_see_changes_in_order_and_bookmarks() {
    if common::skip("watch") {
        return;
    }
    let (node, api, client) = lab();
    api.bookmark_every(Duration::from_millis(100));
    let version = api.resource_version();
    let lines = client
        .stream(&format!("{PODS}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=2"))
        .unwrap();
    let pod = node.add_pod(PodSpec::new("shop", "late")).unwrap();
    api.sync_from(&node);
    let added = lines.find(5 * SECOND, |event| event["type"] == "ADDED").unwrap().1;
    assert_eq!((&added["object"]["kind"], &added["object"]["metadata"]["name"]), (&json!("Pod"), &json!("late")));
    node.replace_pod(&pod, PodSpec::new("shop", "late")).unwrap();
    api.sync_from(&node);
    let change = |event: &Value| event["type"] != "BOOKMARK";
    let deleted = lines.find(5 * SECOND, change).unwrap().1;
    let again = lines.find(5 * SECOND, change).unwrap().1;
    assert_eq!((&deleted["type"], &again["type"]), (&json!("DELETED"), &json!("ADDED")));
    assert_eq!(deleted["object"]["metadata"]["uid"], pod.uid());
    let bookmark = lines.find(5 * SECOND, |event| event["type"] == "BOOKMARK").unwrap().1;
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], api.resource_version().to_string());
    // timeoutSeconds ends it, with only bookmarks before.
    while let Some(line) = lines.next(3 * SECOND) {
        assert_eq!(line.json().unwrap()["type"], "BOOKMARK");
    }
}

#[test]
fn streaming_lists_end_in_a_marked_bookmark() {
    if common::skip("streaming lists") {
        return;
    }
    let (_node, api, client) = lab();
    let lines = client.stream(STREAMING).unwrap();
    let kinds: Vec<_> = (0..3).map(|_| lines.next(5 * SECOND).unwrap().json().unwrap()).collect();
    assert_eq!(
        (&kinds[0]["type"], &kinds[1]["type"], &kinds[2]["type"]),
        (&json!("ADDED"), &json!("ADDED"), &json!("BOOKMARK"))
    );
    assert_eq!(kinds[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(client.get("/api/v1/pods?watch=1&sendInitialEvents=true").unwrap().status, 422);
    api.streaming_lists(StreamingLists::Refused);
    assert_eq!(client.get(STREAMING).unwrap().status, 422);
    api.streaming_lists(StreamingLists::Ignored);
    let lines = client.stream(STREAMING).unwrap();
    assert_eq!(lines.next(5 * SECOND).unwrap().json().unwrap()["type"], "ADDED");
    assert_eq!(lines.next(5 * SECOND).unwrap().json().unwrap()["type"], "ADDED");
    assert!(lines.next(SECOND / 3).is_none());
}

#[test]
fn old_versions_are_told_in_a_stream_and_in_a_list() {
    if common::skip("410") {
        return;
    }
    let (_node, api, client) = lab();
    let old = api.resource_version() - 1;
    api.compact();
    let lines = client.stream(&format!("{PODS}?watch=1&resourceVersion={old}")).unwrap();
    let event = lines.next(5 * SECOND).unwrap().json().unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(lines.ended(5 * SECOND));
    let future = client.get(&format!("{PODS}?resourceVersion=99999999")).unwrap();
    assert_eq!((future.status.as_u16(), &future.json().unwrap()["reason"]), (504, &json!("Timeout")));
    assert_eq!(client.get(&format!("{PODS}?watch=1&resourceVersion=abc")).unwrap().status, 500);
    let unknown = client.get("/apis/cilium.io/v2/ciliumnetworkpolicies").unwrap();
    assert_eq!((unknown.status.as_u16(), unknown.text()), (404, "404 page not found\n".into()));
    assert_eq!(client.get("/api/v1/nothings").unwrap().json().unwrap()["kind"], "Status");
}

#[test]
fn misbehaves_when_told_to() {
    if common::skip("misbehaviour") {
        return;
    }
    let (_node, api, client) = lab();
    let watch = client.stream(&format!("{PODS}?watch=1")).unwrap();
    watch.next(5 * SECOND).unwrap();
    watch.next(5 * SECOND).unwrap();
    api.cut_connections();
    assert!(watch.ended(5 * SECOND));
    api.set_away(true).unwrap();
    assert!(client.get(PODS).is_err());
    api.set_away(false).unwrap();
    client.get_json(PODS).unwrap();
    api.fail_with(Some((429, "Too many requests")));
    let answer = client.get(PODS).unwrap();
    assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (429, &"1".parse().unwrap()));
    api.fail_with(None);
    api.slow(SECOND / 5);
    let begin = std::time::Instant::now();
    client.get_json(PODS).unwrap();
    assert!(begin.elapsed() >= SECOND / 5);
    assert!(api.requests().iter().any(|request| request == "GET /api/v1/pods"));
}
