//! The listener: accepts within bounds, speaks TLS, and ends in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::authorize::{Authorizer, ReviewLimits, Reviews};
use super::certificate::Certificates;
use super::peers::Peers;
use super::respond::Responder;
use super::stats::Lost;
use crate::http::api::Api;

/// Bounds of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Of those, from one IPv4 address or one /64 of IPv6; more are closed.
    pub per_peer: usize,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a request's header, also while the connection is idle.
    pub header: Duration,
    /// For all of a connection: so long a client that does not read what it asked for keeps its place. It then gets
    /// `header` to end what it is at.
    pub connection: Duration,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// How often the certificate's files are looked at.
    pub certificate: Duration,
    /// From the shutdown until connections are cut.
    pub drain: Duration,
    /// What may be asked of the API server.
    pub reviews: ReviewLimits,
}

impl Default for ScrapeLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            per_peer: 16,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            connection: Duration::from_mins(5),
            // A service account's token has about one KiB.
            header_bytes: 16 << 10,
            certificate: Duration::from_secs(5),
            drain: Duration::from_secs(2),
            reviews: ReviewLimits::default(),
        }
    }
}

/// What the listener is made of.
pub struct ScrapeParts {
    /// An open socket.
    pub listener: TcpListener,
    /// The certificate.
    pub certificates: Arc<Certificates>,
    /// Who asks the API server.
    pub reviews: Arc<dyn Reviews>,
}

/// Serves until [`Api::shutdown`] fires; returns where it listens, and the task.
pub fn serve(parts: ScrapeParts, api: &Arc<Api>, limits: ScrapeLimits) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let ScrapeParts { listener, certificates, reviews } = parts;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(tls(Arc::clone(&certificates)).map_err(io::Error::other)?));
    api.scrape.listens(address, Arc::clone(&certificates));
    let responder = Responder { api: Arc::clone(api), authorizer: Authorizer::new(reviews, limits.reviews) };
    let shutdown = api.shutdown().clone();
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(follow(certificates, limits.certificate)));
    Ok((address, tokio::spawn(accept(listener, acceptor, responder, limits, shutdown))))
}

fn tls(certificates: Arc<Certificates>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Looks at the certificate's files again and again: whoever renews them tells nobody.
async fn follow(certificates: Arc<Certificates>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let certificates = Arc::clone(&certificates);
        // A panic is logged as such, and the certificate stays as it is.
        let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    responder: Responder,
    limits: ScrapeLimits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    loop {
        // The place first: with none free, clients wait in the socket's own queue.
        let accepted = async { (Arc::clone(&places).acquire_owned().await.ok(), listener.accept().await) };
        let (place, accepted) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptors left, most of all: it passes, and asking again at once would only burn CPU.
                tracing::warn!(%error, "no connection could be accepted for the metrics");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Some(peer_place) = peers.enter(peer.ip(), limits.per_peer) else {
            responder.api.scrape.lost(Lost::TooMany);
            continue;
        };
        let (acceptor, responder, shutdown) = (acceptor.clone(), responder.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, acceptor, responder, limits, shutdown).await;
            drop((place, peer_place));
        });
    }
    drop(listener);
    // What is left after that is cut by the drop of the set.
    let _ = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    responder: Responder,
    limits: ScrapeLimits,
    shutdown: CancellationToken,
) {
    let handshake = timeout(limits.handshake, acceptor.accept(stream));
    let stream = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            // Plain HTTP, a scanner, silence: rustls has sent its alert where there was something to answer.
            Ok(Err(_)) | Err(_) => return responder.api.scrape.lost(Lost::Handshake),
        },
    };
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let responder = responder.clone();
        async move {
            let (head, _) = request.into_parts();
            Ok::<_, std::convert::Infallible>(responder.respond(head.method, head.uri, head.headers).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        biased;
        // A client that hangs up in the middle is its own business.
        _ = served.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = sleep(limits.connection) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = timeout(limits.header, served).await;
}
