//! Requests that are answered at once.

use proptest::prelude::*;
use serde_json::Value;

use super::{Server, Setup};
use crate::http::events::EventsPage;
use crate::http::router;
use crate::http::status::Status;
use crate::pipeline::samples;

#[tokio::test]
async fn each_documented_path_answers() {
    let server = Server::start(Setup::default()).await;
    let (_, openapi) = router::build(server.api.clone());
    let paths: Vec<_> = openapi.paths.paths.keys().cloned().collect();
    assert_eq!(paths, ["/healthz", "/metrics", "/readyz", "/v1/events", "/v1/events/stream", "/v1/status"]);
    let (_, first_page) = server.get("/").await;
    for path in paths {
        let query = if path.ends_with("stream") { "?follow=false" } else { "" };
        let (status, body) = server.get(&format!("{path}{query}")).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(first_page.contains(&path), "{first_page}");
    }
    let (status, described) = server.get("/openapi.json").await;
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!((status, described["openapi"].as_str()), (200, Some("3.1.0")));
    let line = &described["paths"]["/v1/events/stream"]["get"]["responses"]["200"]["content"]["application/x-ndjson"];
    assert_eq!(line["schema"]["$ref"], "#/components/schemas/StreamLine");
    let parameters = described["paths"]["/v1/events"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    let expected = ["kind", "namespace", "pod", "reason", "severity", "since", "until", "limit", "cursor", "order"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn problems_say_what_would_be_right() {
    let server = Server::start(Setup::default()).await;
    for (path, status, parameter) in [
        ("/v1/events?limit=0", 400, Some("limit")),
        ("/v1/events?limt=5", 400, Some("limt")),
        ("/v1/events?kind=drops", 400, Some("kind")),
        ("/v1/events?since=soon", 400, Some("since")),
        ("/v1/events?cursor=x", 400, Some("cursor")),
        ("/v1/events?cursor=node-a.test.b0071d00.9.1", 400, Some("cursor")),
        ("/v1/events/stream?last=-1", 400, Some("last")),
        ("/v1/status?x=1", 400, Some("x")),
        ("/v1/nothing", 404, None),
    ] {
        let (got, body) = server.get(path).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((got, problem["parameter"].as_str()), (status, parameter), "{path}: {body}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
        assert_eq!(problem["expected"].is_string(), parameter.is_some());
    }
    let mut connection = server.tcp().await;
    connection.send("POST /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let (status, body) = connection.answer().await;
    assert_eq!(status, 405);
    assert!(body.contains("only with GET"), "{body}");
}

#[tokio::test]
async fn the_host_is_checked_on_tcp_only() {
    let server = Server::start(Setup::default()).await;
    let request = |line: &str| format!("GET /healthz {line}Connection: close\r\n\r\n");
    for (line, expected) in [
        ("HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("HTTP/1.1\r\nHost: 127.0.0.1:7117\r\n", 200),
        ("HTTP/1.1\r\n", 400),
        ("HTTP/1.0\r\n", 200),
    ] {
        let mut connection = server.tcp().await;
        connection.send(&request(line)).await;
        assert_eq!(connection.answer().await.0, expected, "{line:?}");
    }
    let mut connection = server.unix().await;
    connection.send(&request("HTTP/1.1\r\nHost: anything\r\n")).await;
    assert_eq!(connection.answer().await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn pages_of_events() {
    let server = Server::start(Setup::default()).await;
    server.drops(5);
    server.publisher.publish(samples::dns("shop", "cart", false), samples::DNS, None, &[]);
    let page = async |path: &str| {
        let (status, body) = server.get(path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<EventsPage>(&body).unwrap()
    };
    let seqs = |page: &EventsPage| -> Vec<String> {
        page.events.iter().map(|event| event.id.rsplit('.').next().unwrap().to_owned()).collect()
    };
    let first = page("/v1/events?limit=2&kind=drop").await;
    assert_eq!(seqs(&first), ["5", "4"]);
    let next = page(&format!("/v1/events?limit=3&kind=drop&cursor={}", first.next_cursor.unwrap())).await;
    assert_eq!((seqs(&next), next.next_cursor), (vec!["3".into(), "2".into(), "1".into()], None));
    assert_eq!(seqs(&page("/v1/events?order=oldest&limit=1").await), ["1"]);
    assert_eq!(seqs(&page("/v1/events?severity=info").await), ["6"]);
    assert_eq!(seqs(&page("/v1/events?reason=noerror&pod=shop/cart&since=1m").await), ["6"]);
    assert_eq!(seqs(&page("/v1/events?until=1m").await), [""; 0]);
}

#[tokio::test]
async fn readiness_status_and_metrics() {
    let server = Server::start(Setup::default()).await;
    let latch = server.readiness.latch("programs", "the kernel programs are not attached yet");
    let (status, body) = server.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("not attached yet"), "{body}");
    latch.ready();
    assert_eq!(server.get("/readyz").await, (200, "{\"ready\":true,\"waiting\":[]}".to_owned()));

    server.drops(3);
    server.publisher.ledger().decoded(0);
    let (_, body) = server.get("/v1/status").await;
    let status: Status = serde_json::from_str(&body).unwrap();
    assert_eq!(status.position, server.publisher.id_text(3));
    assert_eq!((status.history[0].events, status.streams.max_clients), (3, 64));
    // Three events were published and one record decoded: the ledger has to notice.
    assert_eq!(status.ledger.families[0].sums[0].difference, -2);
    assert!(status.resident_bytes.is_some() && status.ready_after_seconds.is_some());

    let (_, metrics) = server.get("/metrics").await;
    for line in [
        "netobs_events_total{kind=\"drop\",severity=\"problem\"} 3",
        "netobs_history_events{kind=\"drop\",severity=\"problem\"} 3",
        "netobs_records_total{family=\"drop\",outcome=\"published\"} 3",
        "netobs_records_decoded_total{family=\"drop\"} 1",
        "netobs_stream_clients 0",
        "netobs_ready 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} in\n{metrics}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Anything that may stand in a request line and in a header's value.
fn printable(max: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(0x21_u8..0x7f, 0..max).prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn whatever_is_asked_is_answered() {
    let runtime = runtime();
    let server = runtime.block_on(Server::start(Setup::default()));
    server.drops(3);
    let name = prop::sample::select(vec![
        "kind",
        "namespace",
        "pod",
        "reason",
        "severity",
        "since",
        "until",
        "limit",
        "cursor",
        "order",
        "after",
        "last",
    ]);
    let value = prop_oneof![
        printable(20),
        Just("drop".to_owned()),
        Just("5m".to_owned()),
        Just("node-a.test.b0071d00.1.2".to_owned()),
        "[0-9]{1,5}",
        "%[0-9a-f]{2}",
    ];
    let query = prop::collection::vec((name, value), 0..4)
        .prop_map(|pairs| pairs.iter().map(|(name, value)| format!("&{name}={value}")).collect::<Vec<_>>().concat());
    let query = prop_oneof![3 => query, 1 => printable(60)];
    let path = prop::sample::select(vec!["/v1/events?", "/v1/events/stream?follow=false&", "/v1/status?", "/readyz?"]);
    let header = prop::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..40);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(path in path, query in query, accept in header.clone(), resume in header)| {
        use tokio::io::AsyncWriteExt;
        let status = runtime.block_on(async {
            let mut connection = server.tcp().await;
            let mut request = format!("GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nAccept: ").into_bytes();
            request.extend_from_slice(&accept);
            request.extend_from_slice(b"\r\nLast-Event-ID: ");
            request.extend_from_slice(&resume);
            request.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
            connection.0.write_all(&request).await.unwrap();
            connection.answer().await.0
        });
        prop_assert!(status == 200 || status == 400, "{status}");
    });
}
