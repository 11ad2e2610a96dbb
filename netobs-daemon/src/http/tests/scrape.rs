//! The metrics over the network: real TLS on a real socket, and an API server that is a table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Connection, Server, Setup};
use crate::http::scrape::{
    CertificateSource, Certificates, Reviews, ScrapeLimits, ScrapeParts, ScrapeResult, Token, Verdict, serve,
};

/// The API server.
#[derive(Default)]
struct Table {
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Reviews for Table {
    fn review(&self, token: Token) -> BoxFuture<'static, Result<Verdict, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let away = self.away.load(Ordering::SeqCst);
        async move {
            match token.secret() {
                _ if away => Err("no connection".to_owned()),
                text if text.starts_with("prometheus") => Ok(Verdict::Allowed),
                "somebody" => Ok(Verdict::Forbidden),
                _ => Ok(Verdict::Unauthenticated),
            }
        }
        .boxed()
    }
}

struct Scraped {
    server: Server,
    table: Arc<Table>,
    address: SocketAddr,
    directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

/// A certificate for 127.0.0.1 and its key, written to the directory; the certificate in DER.
fn write_pair(directory: &tempfile::TempDir) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(directory.path().join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(directory.path().join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

async fn start(limits: ScrapeLimits) -> (Scraped, CertificateDer<'static>) {
    let directory = tempfile::tempdir().unwrap();
    let certificate = write_pair(&directory);
    let path = |name: &str| directory.path().join(name);
    let source = CertificateSource::Files { certificate: path("tls.crt"), key: path("tls.key") };
    let table = Arc::new(Table::default());
    let parts = ScrapeParts {
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        certificates: Arc::new(Certificates::new(source).unwrap()),
        reviews: Arc::clone(&table) as _,
    };
    let server = Server::start(Setup::default()).await;
    let (address, task) = serve(parts, &server.api, limits).unwrap();
    (Scraped { server, table, address, directory, task }, certificate)
}

impl Scraped {
    /// A connection of who trusts this certificate and no other.
    async fn connect(&self, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::IpAddress(self.address.ip().into());
        TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(self.address).await?).await
    }

    /// Head, in which header names are in lower case, and body.
    async fn ask(&self, trusted: &CertificateDer<'static>, request: &str, headers: &str) -> (String, String) {
        let mut connection = Connection::new(self.connect(trusted).await.unwrap());
        connection.send(&format!("{request} HTTP/1.1\r\nHost: node-a\r\nConnection: close\r\n{headers}\r\n")).await;
        connection.whole().await
    }

    async fn status(&self, trusted: &CertificateDer<'static>, request: &str, headers: &str) -> u16 {
        self.ask(trusted, request, headers).await.0[9..12].parse().unwrap()
    }

    fn count(&self, result: ScrapeResult) -> u64 {
        let name = ScrapeResult::ALL[result as usize].1;
        self.server.api.scrape.requests().find(|(one, _)| *one == name).unwrap().1
    }

    fn lost(&self, cause: &str) -> u64 {
        self.server.api.scrape.lost_connections().find(|(one, _)| *one == cause).unwrap().1
    }
}

const GOOD: &str = "Authorization: Bearer prometheus\r\n";

#[tokio::test]
async fn the_cluster_decides() {
    let (scraped, certificate) = start(ScrapeLimits::default()).await;
    let (head, body) = scraped.ask(&certificate, "GET /metrics", GOOD).await;
    assert!(head.starts_with("HTTP/1.1 200") && body.contains("\nnetobs_ready 1\n"), "{head}\n{body}");
    let (head, _) = scraped.ask(&certificate, "GET /metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 401") && head.contains("www-authenticate: Bearer realm="), "{head}");
    for (request, headers, expected) in [
        ("HEAD /metrics", GOOD, 200),
        ("GET /metrics", "Authorization: Bearer prometheus\r\nAuthorization: Bearer prometheus\r\n", 401),
        ("GET /metrics", "Authorization: Bearer nobody\r\n", 401),
        ("GET /metrics", "Authorization: Basic cHJvbWV0aGV1cw==\r\n", 401),
        ("GET /metrics", "Authorization: Bearer somebody\r\n", 403),
        ("POST /metrics", GOOD, 405),
        ("GET /metrics?x=1", GOOD, 400),
    ] {
        assert_eq!(scraped.status(&certificate, request, headers).await, expected, "{request} {headers}");
    }
    for path in ["/", "/v1/events", "/v1/status", "/healthz", "/openapi.json", "/metrics/", "//metrics", "/metrics%2f"]
    {
        assert_eq!(scraped.status(&certificate, &format!("GET {path}"), GOOD).await, 404, "{path}");
    }
    let counts = [ScrapeResult::Served, ScrapeResult::Unauthenticated, ScrapeResult::Forbidden, ScrapeResult::Refused];
    assert_eq!(counts.map(|result| scraped.count(result)), [2, 4, 1, 10]);
    let status = scraped.server.api.status().metrics_listener.unwrap();
    assert_eq!((status.address, status.certificate.as_str()), (scraped.address.to_string(), "files"));
    assert!(status.certificate_expires.is_some() && status.certificate_problem.is_none());
}

#[tokio::test]
async fn while_nobody_can_be_asked_only_who_is_known_gets_in() {
    let (scraped, certificate) = start(ScrapeLimits::default()).await;
    assert_eq!(scraped.status(&certificate, "GET /metrics", GOOD).await, 200);
    scraped.table.away.store(true, Ordering::SeqCst);
    let other = "Authorization: Bearer prometheus2\r\n";
    assert_eq!(scraped.status(&certificate, "GET /metrics", GOOD).await, 200);
    assert_eq!(scraped.status(&certificate, "GET /metrics", other).await, 503);
    scraped.table.away.store(false, Ordering::SeqCst);
    assert_eq!(scraped.status(&certificate, "GET /metrics", other).await, 200);
    assert_eq!(scraped.table.asked.load(Ordering::SeqCst), 3);
    assert_eq!(scraped.count(ScrapeResult::Unavailable), 1);
}

#[tokio::test]
async fn a_new_certificate_is_picked_up() {
    let limits = ScrapeLimits { certificate: Duration::from_millis(20), ..ScrapeLimits::default() };
    let (scraped, first) = start(limits).await;
    assert_eq!(scraped.status(&first, "GET /metrics", GOOD).await, 200);
    let second = write_pair(&scraped.directory);
    let end = Instant::now() + Duration::from_secs(10);
    while scraped.connect(&second).await.is_err() {
        assert!(Instant::now() < end, "the new certificate is not in use");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(scraped.status(&second, "GET /metrics", GOOD).await, 200);
    assert!(scraped.connect(&first).await.is_err());
}

/// Reads to the end; how long that took.
async fn closed_after(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Duration {
    let (start, mut rest) = (Instant::now(), Vec::new());
    // A reset is an end, too.
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("an end");
    start.elapsed()
}

#[tokio::test]
async fn who_is_silent_is_closed_and_keeps_nobody_out() {
    let quick = Duration::from_millis(300);
    let limits = ScrapeLimits { handshake: quick, header: quick, connections: 4, ..ScrapeLimits::default() };
    let (scraped, certificate) = start(limits).await;
    let mut silent = TcpStream::connect(scraped.address).await.unwrap();
    let mut half = scraped.connect(&certificate).await.unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nHost: node-a\r\nX: ").await.unwrap();
    assert_eq!(scraped.status(&certificate, "GET /metrics", GOOD).await, 200);
    assert!(closed_after(&mut silent).await < Duration::from_secs(5));
    assert!(closed_after(&mut half).await < Duration::from_secs(5));
    assert_eq!(scraped.lost("handshake"), 1);

    // More of them than there are places: others wait, and then have their turn.
    let mut crowd = Vec::new();
    for _ in 0..8 {
        crowd.push(TcpStream::connect(scraped.address).await.unwrap());
    }
    assert_eq!(scraped.status(&certificate, "GET /metrics", GOOD).await, 200);
}

#[tokio::test]
async fn other_protocols_and_large_headers_end_cleanly() {
    let (scraped, certificate) = start(ScrapeLimits::default()).await;
    for bytes in [
        &b"GET /metrics HTTP/1.1\r\nHost: node-a\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0\0\0\0\0\0",
        b"SSH-2.0-x\r\n",
    ] {
        let mut stream = TcpStream::connect(scraped.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(closed_after(&mut stream).await < Duration::from_secs(4), "{bytes:?}");
    }
    assert_eq!(scraped.lost("handshake"), 4);
    let large = format!("Authorization: Bearer {}\r\n", "a".repeat(64 << 10));
    let mut stream = scraped.connect(&certificate).await.unwrap();
    // The server may hang up before it has taken all of it.
    let _ = stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: node-a\r\n{large}\r\n").as_bytes()).await;
    closed_after(&mut stream).await;
    assert_eq!(scraped.table.asked.load(Ordering::SeqCst), 0);
    assert_eq!(scraped.status(&certificate, "GET /metrics", GOOD).await, 200);
}

#[tokio::test]
async fn who_is_not_let_in_keeps_no_place() {
    // Idle for a minute is allowed: only the answer itself ends these connections.
    let limits = ScrapeLimits { header: Duration::from_mins(1), connections: 2, ..ScrapeLimits::default() };
    let (scraped, certificate) = start(limits).await;
    let begin = async |request: &str, headers: &str| {
        let mut connection = Connection::new(scraped.connect(&certificate).await.unwrap());
        connection
            .send(&format!("{request} HTTP/1.1\r\nHost: node-a\r\nConnection: keep-alive\r\n{headers}\r\n"))
            .await;
        connection
    };
    for (request, headers, status) in [
        ("GET /metrics", "", 401),
        ("GET /metrics", "Authorization: Bearer nobody\r\n", 401),
        ("GET /metrics", "Authorization: Bearer somebody\r\n", 403),
        ("GET /", GOOD, 404),
        ("POST /metrics", GOOD, 405),
        ("GET /metrics?x=1", GOOD, 400),
    ] {
        let (head, _) = begin(request, headers).await.whole().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains("\r\nconnection: close\r\n"),
            "{head}"
        );
    }
    scraped.table.away.store(true, Ordering::SeqCst);
    let (head, _) = begin("GET /metrics", "Authorization: Bearer prometheus2\r\n").await.whole().await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nconnection: close\r\n"), "{head}");
    scraped.table.away.store(false, Ordering::SeqCst);

    // Clients that never hang up themselves, more than there are places: each has its turn.
    let mut idle = Vec::new();
    for _ in 0..6 {
        let connection = begin("GET /metrics", "").await;
        idle.push(connection);
    }
    // Who is let in may go on.
    let mut prometheus = begin("HEAD /metrics", GOOD).await;
    for again in [true, true, false] {
        let head = prometheus.head().await;
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("connection: close"), "{head}");
        if again {
            prometheus.send(&format!("HEAD /metrics HTTP/1.1\r\nHost: node-a\r\n{GOOD}\r\n")).await;
        }
    }
}

#[tokio::test]
async fn one_peer_has_its_bound() {
    let limits = ScrapeLimits { per_peer: 2, ..ScrapeLimits::default() };
    let (scraped, certificate) = start(limits).await;
    let first = scraped.connect(&certificate).await.unwrap();
    let second = scraped.connect(&certificate).await.unwrap();
    assert!(scraped.connect(&certificate).await.is_err());
    assert_eq!(scraped.lost("too_many"), 1);
    drop((first, second));
    let end = Instant::now() + Duration::from_secs(5);
    while scraped.connect(&certificate).await.is_err() {
        assert!(Instant::now() < end, "no place was given back");
    }
}

#[tokio::test]
async fn it_ends_with_the_api() {
    let (scraped, certificate) = start(ScrapeLimits::default()).await;
    let mut idle = scraped.connect(&certificate).await.unwrap();
    let mut silent = TcpStream::connect(scraped.address).await.unwrap();
    scraped.server.api.shutdown().cancel();
    assert!(closed_after(&mut idle).await < Duration::from_secs(2));
    assert!(closed_after(&mut silent).await < Duration::from_secs(2));
    timeout(Duration::from_secs(3), scraped.task).await.expect("an end").unwrap();
    assert!(TcpStream::connect(scraped.address).await.is_err());
}
