//! Streams: same ids for all, resuming, gaps, lag, limits and the end.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpSocket;

use super::{Connection, Server, Setup};
use crate::http::{ApiLimits, ServeLimits};
use crate::pipeline::{HistoryLimits, samples};

const NDJSON: &str = "/v1/events/stream?format=ndjson";

#[tokio::test]
async fn two_clients_see_the_same_ids() {
    let server = Server::start(Setup::default()).await;
    let (mut tcp, mut unix) = (server.tcp().await, server.unix().await);
    let head = tcp.stream(NDJSON, "").await;
    for header in ["content-type: application/x-ndjson", "x-accel-buffering: no", "cache-control: no-store"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(head.contains(&format!("netobs-position: {}", server.publisher.id_text(0))), "{head}");
    unix.stream(NDJSON, "").await;
    server.drops(200);
    let ids = tcp.ids(200).await;
    assert_eq!(ids, unix.ids(200).await);
    assert_eq!(ids, (1..=200).map(|seq| server.publisher.id_text(seq)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_after_silence_comes_at_once() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.tcp().await;
    client.stream(NDJSON, "").await;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        server.drops(1);
        client.ids(1).await;
        slowest = slowest.max(start.elapsed());
    }
    // Generous: the machine is shared. Without the wake-up it would be the heartbeat's 15 s.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test]
async fn server_sent_events_and_filters() {
    let server = Server::start(Setup::default()).await;
    let mut client = server.tcp().await;
    let head = client.stream("/v1/events/stream?kind=dns", "Accept: text/event-stream\r\n").await;
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    server.drops(1);
    server.publisher.publish(samples::dns("shop", "cart", true), samples::DNS, None, &[]);
    assert_eq!(client.line().await.unwrap(), "event: dns");
    assert_eq!(client.line().await.unwrap(), format!("id: {}", server.publisher.id_text(2)));
    let data = client.line().await.unwrap();
    let event: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(event["dns"]["rcode"], "NXDOMAIN");
}

#[tokio::test]
async fn resuming() {
    let server = Server::start(Setup::default()).await;
    server.drops(10);
    let mut by_header = server.tcp().await;
    by_header.stream(NDJSON, &format!("Last-Event-ID: {}\r\n", server.publisher.id_text(7))).await;
    let mut by_parameter = server.unix().await;
    by_parameter.stream(&format!("{NDJSON}&after={}", server.publisher.id_text(7)), "").await;
    server.drops(1);
    let expected: Vec<_> = (8..=11).map(|seq| server.publisher.id_text(seq)).collect();
    assert_eq!(by_header.ids(4).await, expected);
    assert_eq!(by_parameter.ids(4).await, expected);
}

#[tokio::test]
async fn gaps_are_told() {
    let history = HistoryLimits { problems: 3, ..HistoryLimits::default() };
    let server = Server::start(Setup { epoch: 2, history, ..Setup::default() }).await;
    server.drops(10);
    let earlier = "node-a.test.b0071d00.1.12345";
    let mut restarted = server.tcp().await;
    restarted.stream(&format!("{NDJSON}&after={earlier}"), "").await;
    assert_eq!(restarted.json().await, json!({"control": "gap", "reason": "restart", "after": earlier}));
    assert_eq!(restarted.ids(3).await, (8..=10).map(|seq| server.publisher.id_text(seq)).collect::<Vec<_>>());

    let old = server.publisher.id_text(2);
    let mut evicted = server.tcp().await;
    evicted.stream(&format!("{NDJSON}&after={old}"), "").await;
    assert_eq!(evicted.json().await, json!({"control": "gap", "reason": "evicted", "after": old}));
    assert_eq!(evicted.ids(1).await, [server.publisher.id_text(8)]);

    let mut sse = server.tcp().await;
    sse.stream(&format!("/v1/events/stream?format=sse&after={old}"), "").await;
    assert_eq!(sse.line().await.unwrap(), "event: gap");
}

#[tokio::test]
async fn a_stuck_client_is_told_exactly_and_slows_nobody() {
    const EVENTS: u64 = 6_000;
    let history = HistoryLimits { problems: 500, ..HistoryLimits::default() };
    let serve = ServeLimits { send_buffer: 8 << 10, ..ServeLimits::default() };
    let server = Server::start(Setup { history, serve, ..Setup::default() }).await;
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let mut stuck = Connection::new(small.connect(server.address).await.unwrap());
    stuck.stream(NDJSON, "").await;
    let mut reading = server.tcp().await;
    reading.stream(NDJSON, "").await;
    let mut read = Vec::new();
    for _ in 0..EVENTS / 100 {
        server.drops(100);
        read.extend(reading.ids(100).await);
    }
    assert_eq!(read, (1..=EVENTS).map(|seq| server.publisher.id_text(seq)).collect::<Vec<_>>());

    // The stuck one wakes up: what it reads and what it is told it missed are everything.
    let (mut got, mut missed, mut lagged, mut last) = (0, 0, 0, 0);
    while last < EVENTS {
        let message = stuck.json().await;
        if message["control"] == "lagged" {
            lagged += 1;
            missed += message["missed"].as_u64().unwrap();
        } else {
            got += 1;
            let seq: u64 = message["id"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap();
            assert_eq!(seq, got + missed, "in order, and the message is where the hole is");
            last = seq;
        }
    }
    assert_eq!((got + missed, lagged), (EVENTS, 1));
    assert!(missed > EVENTS / 2, "missed {missed}: the buffers were not small");
    assert_eq!(server.publisher.store().lagged(), missed);
}

#[tokio::test]
async fn beginnings_and_ends() {
    let server = Server::start(Setup::default()).await;
    server.drops(5);
    let mut last = server.tcp().await;
    last.stream(&format!("{NDJSON}&last=2"), "").await;
    assert_eq!(last.ids(2).await, [4, 5].map(|seq| server.publisher.id_text(seq)));
    let mut since = server.tcp().await;
    since.stream(&format!("{NDJSON}&since=1m"), "").await;
    assert_eq!(since.ids(1).await, [server.publisher.id_text(1)]);
    let (status, body) = server.get(&format!("{NDJSON}&follow=false&until=2030-01-01T00:00:00Z")).await;
    assert_eq!(status, 200);
    assert_eq!(body.lines().filter(|line| line.starts_with('{')).count(), 5, "{body}");
}

#[tokio::test]
async fn heartbeats_move_the_position() {
    let api = ApiLimits { heartbeat: Duration::from_millis(50), ..ApiLimits::default() };
    let server = Server::start(Setup { api, ..Setup::default() }).await;
    let mut client = server.tcp().await;
    client.stream(&format!("{NDJSON}&kind=dns"), "").await;
    server.drops(3);
    let position = server.publisher.id_text(3);
    let mut beats = Vec::new();
    while !beats.contains(&json!({"control": "heartbeat", "position": position})) {
        beats.push(client.json().await);
        assert!(beats.len() < 100, "{beats:?}");
    }
    let mut sse = server.tcp().await;
    sse.stream("/v1/events/stream?format=sse", "").await;
    assert_eq!(sse.line().await.unwrap(), ": heartbeat");
    assert_eq!(sse.line().await.unwrap(), format!("id: {position}"));
}

#[tokio::test]
async fn stream_clients_are_bounded() {
    let api = ApiLimits { stream_clients: 1, ..ApiLimits::default() };
    let server = Server::start(Setup { api, ..Setup::default() }).await;
    let mut first = server.tcp().await;
    first.stream(NDJSON, "").await;
    let (status, body) = server.get(NDJSON).await;
    assert_eq!(status, 503);
    assert!(body.contains("which is the limit"), "{body}");
    drop(first);
    // The place is free once the server has noticed.
    let start = Instant::now();
    while server.get(&format!("{NDJSON}&follow=false")).await.0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn shutdown_ends_open_streams() {
    let mut server = Server::start(Setup::default()).await;
    let (mut tcp, mut unix) = (server.tcp().await, server.unix().await);
    tcp.stream(NDJSON, "").await;
    unix.stream(NDJSON, "").await;
    let start = Instant::now();
    assert_eq!(server.stop().await, 0);
    assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(tcp.line().await, None);
    assert_eq!(unix.line().await, None);
    assert!(!server.socket.exists());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_stuck_client() {
    let serve = ServeLimits { send_buffer: 8 << 10, drain: Duration::from_millis(300), ..ServeLimits::default() };
    let mut server = Server::start(Setup { serve, ..Setup::default() }).await;
    let mut stuck = server.unix().await;
    stuck.stream(NDJSON, "").await;
    server.drops(2_000);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    assert_eq!(server.stop().await, 1);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_header_timeout() {
    let api = ApiLimits { heartbeat: Duration::from_millis(400), ..ApiLimits::default() };
    let serve = ServeLimits { header_timeout: Duration::from_millis(100), ..ServeLimits::default() };
    let server = Server::start(Setup { api, serve, ..Setup::default() }).await;
    let mut client = server.tcp().await;
    client.stream(NDJSON, "").await;
    for _ in 0..2 {
        assert_eq!(client.json().await["control"], "heartbeat");
    }
    // Who never sends a request's header is cut.
    let mut idle = server.tcp().await;
    idle.send("GET / HTTP/1.1\r\n").await;
    assert!(idle.line().await.is_none_or(|line| line.contains("408")));
}
