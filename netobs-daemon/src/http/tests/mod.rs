//! The real router on a real TCP listener and a unix socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod metrics;
mod requests;
mod scrape;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::metrics::node::{FeedMetrics, NodeMetrics};
use crate::http::status::{HookStatus, NodeStatus, StatusSource};
use crate::http::{Api, ApiLimits, ApiParts, ListenConfig, Readiness, ServeHandle, ServeLimits, bind, serve};
use crate::pipeline::{HistoryLimits, Publisher, samples};

pub(crate) struct FixedStatus;
impl StatusSource for FixedStatus {
    fn node_status(&self) -> NodeStatus {
        let hook = |name: &str, attached, detail: &str| HookStatus {
            name: name.into(),
            attached,
            detail: Some(detail.into()),
        };
        NodeStatus {
            kernel: "6.18.0".into(),
            hooks: vec![
                hook("skb:kfree_skb", true, "BTF tracepoint"),
                hook("netfilter FORWARD ipv4", false, "EINVAL: the kernel has no netfilter links"),
            ],
            ..NodeStatus::default()
        }
    }

    fn node_metrics(&self) -> NodeMetrics {
        let feed = FeedMetrics {
            name: "pods",
            synced: true,
            objects: 3,
            lists: 1,
            failures: 0,
            undecodable: 0,
            heard_boot_ns: Some(1),
        };
        NodeMetrics {
            kernel: "6.18.0".into(),
            rings: vec![("NETOBS_DROPS", 2 << 20)],
            map_bytes: Some(8 << 20),
            feeds: vec![feed],
            ..NodeMetrics::default()
        }
    }
}

/// A daemon's HTTP side with a publisher that the test drives.
pub(crate) struct Server {
    pub publisher: Arc<Publisher>,
    pub readiness: Arc<Readiness>,
    pub api: Arc<Api>,
    pub address: SocketAddr,
    pub socket: PathBuf,
    handle: Option<ServeHandle>,
    directory: Option<TempDir>,
}

#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub epoch: u64,
    pub history: HistoryLimits,
    pub api: ApiLimits,
    pub serve: ServeLimits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            epoch: 1,
            history: HistoryLimits::default(),
            api: ApiLimits::default(),
            serve: ServeLimits { drain: Duration::from_millis(500), ..ServeLimits::default() },
        }
    }
}

impl Server {
    pub(crate) async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("netobs.sock");
        let tcp = "127.0.0.1:0".parse().unwrap();
        let mut server = Self::start_at(setup, tcp, socket).await;
        server.directory = Some(directory);
        server
    }

    pub(crate) async fn start_at(setup: Setup, tcp: SocketAddr, socket: PathBuf) -> Self {
        let publisher = samples::publisher(setup.epoch, setup.history);
        let readiness = Readiness::new();
        let parts = ApiParts {
            publisher: Arc::clone(&publisher),
            readiness: Arc::clone(&readiness),
            source: Arc::new(FixedStatus),
            registry: Registry::default(),
            shutdown: CancellationToken::new(),
        };
        let api = Api::new(parts, setup.api);
        let config = ListenConfig { tcp: Some(tcp), unix: Some(socket.clone()), extra_hosts: Vec::new() };
        let handle = serve(bind(&config).await.unwrap(), &api, setup.serve);
        let address = handle.tcp.unwrap();
        Self { publisher, readiness, api, address, socket, handle: Some(handle), directory: None }
    }

    /// Publishes `count` drops of the pod `shop/cart`.
    pub(crate) fn drops(&self, count: usize) {
        for _ in 0..count {
            self.publisher.publish(samples::drop("shop", "cart", "NETFILTER_DROP"), samples::DROP, None, &[]);
        }
    }

    pub(crate) async fn tcp(&self) -> Connection<TcpStream> {
        Connection::new(TcpStream::connect(self.address).await.unwrap())
    }

    async fn unix(&self) -> Connection<UnixStream> {
        Connection::new(UnixStream::connect(&self.socket).await.unwrap())
    }

    /// Status and body of a request with the usual headers.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut connection = self.tcp().await;
        connection.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        connection.answer().await
    }

    /// Ends the server; how many connections had to be cut.
    pub(crate) async fn stop(&mut self) -> usize {
        self.api.shutdown().cancel();
        self.handle.take().unwrap().drained().await
    }
}

/// An HTTP/1.1 client that hides nothing.
pub(crate) struct Connection<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    async fn send(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Status and body; the server is to close the connection.
    async fn answer(self) -> (u16, String) {
        let (head, body) = self.whole().await;
        (head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0), body)
    }

    /// Head and body; the server is to close the connection.
    async fn whole(mut self) -> (String, String) {
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(10), self.0.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) => (format!("{head}\r\n"), body.to_owned()),
            None => (text, String::new()),
        }
    }

    /// Begins a stream and reads the answer's head, in lower case.
    async fn stream(&mut self, path: &str, headers: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        self.head().await
    }

    /// The next answer's head, in lower case.
    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).await.unwrap(), 0, "ended in the head: {head}");
        }
        head.to_lowercase()
    }

    /// Next line of a stream's body that is not empty, without the chunked framing; `None` at its end.
    async fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = timeout(Duration::from_secs(10), self.0.read_line(&mut line)).await.expect("a line in time");
            if read.unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            // Chunk sizes are hexadecimal numbers, which no line of either format is.
            if !line.is_empty() && u64::from_str_radix(line, 16).is_err() {
                return Some(line.to_owned());
            }
        }
    }

    /// Next NDJSON line as a value.
    async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line().await.expect("a line")).unwrap()
    }

    /// The ids of the next events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.json().await["id"].as_str().expect("an event").to_owned());
        }
        ids
    }
}
