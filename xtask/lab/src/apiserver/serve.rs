//! The listener and its connections, on a runtime in a thread of its own.

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::answer::answer;
use crate::netns;

/// A listening server. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds inside the namespace and serves.
    pub(super) fn start(shared: Arc<Shared>, namespace: &Arc<File>, address: SocketAddr) -> Result<Self> {
        let bind = || {
            netns::enter(namespace.as_fd())?;
            std::net::TcpListener::bind(address)
        };
        let listener = std::thread::scope(|scope| {
            scope.spawn(bind).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .with_context(|| format!("listening on {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::Builder::new().name("lab-apiserver".into()).spawn(move || {
            runtime.block_on(token.run_until_cancelled(accept(shared, listener)));
            // Dropping the runtime ends the connections' tasks.
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: std::net::TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let cut = shared.connections();
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(shared, request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            // A client that goes away is no error of ours.
            let _ = cut.run_until_cancelled(connection).await;
        });
    }
}
