//! Runs the API on its sockets and drains it within a deadline.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::api::Api;
use crate::http::host::{self, Hosts};
use crate::http::listen::Listeners;
use crate::http::router;

/// Bounds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections of each socket at a time; more wait to be accepted.
    pub connections: usize,
    /// From the shutdown token until connections that have not ended are cut.
    pub drain: Duration,
    /// For a client to send a request's header, also while the connection is idle.
    pub header_timeout: Duration,
    /// Bytes that may wait in the daemon, and in the kernel, for a client to read them.
    pub send_buffer: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            drain: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            send_buffer: 128 << 10,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct ServeHandle {
    /// Where it listens on TCP.
    pub tcp: Option<SocketAddr>,
    /// Where it listens on a unix socket.
    pub unix: Option<PathBuf>,
    tasks: Vec<JoinHandle<usize>>,
}

impl ServeHandle {
    /// Waits until everything has ended, after the shutdown token or because of an error; returns how many
    /// connections had to be cut at the deadline.
    pub async fn drained(self) -> usize {
        let mut cut = 0;
        for task in self.tasks {
            cut += task.await.unwrap_or(0);
        }
        cut
    }
}

/// Serves the API on the given sockets until [`Api::shutdown`] fires.
pub fn serve(listeners: Listeners, api: &Arc<Api>, limits: ServeLimits) -> ServeHandle {
    let (router, _) = router::build(Arc::clone(api));
    let shutdown = api.shutdown();
    let mut handle = ServeHandle { tcp: None, unix: None, tasks: Vec::new() };
    if let Some(listener) = listeners.tcp {
        handle.tcp = listener.local_addr().ok();
        let hosts = Hosts::new(&listeners.extra_hosts);
        let router = router.clone().layer(axum::middleware::from_fn_with_state(hosts, host::check));
        handle.tasks.push(tokio::spawn(accept(listener, router, limits, shutdown.clone())));
    }
    if let Some(socket) = listeners.unix {
        handle.unix = Some(socket.path().to_owned());
        let shutdown = shutdown.clone();
        handle.tasks.push(tokio::spawn(async move {
            let file = socket.file;
            let cut = accept(socket.listener, router, limits, shutdown).await;
            drop(file);
            cut
        }));
    }
    handle
}

/// Accepts until the token fires, then lets connections end; returns how many were cut.
async fn accept<L>(mut listener: L, router: Router, limits: ServeLimits, shutdown: CancellationToken) -> usize
where
    L: Listener,
    L::Io: AsFd,
    L::Addr: fmt::Debug,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // The place first: with none free, clients wait in the socket's own queue.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await.0)
        };
        let (place, stream) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        // Else the kernel lets the buffer of a client that does not read grow to megabytes. Refused where the system
        // allows less, which is as well.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, limits.send_buffer);
        let router = router.clone();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            connection(stream, router, limits, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    let ended = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
    let cut = if ended.is_ok() { 0 } else { connections.len() };
    connections.shutdown().await;
    cut
}

async fn connection<S>(stream: S, router: Router, limits: ServeLimits, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.send_buffer)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        biased;
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        // A client that hangs up in the middle is its own business.
        tracing::debug!(%error, "connection ended");
    }
}
