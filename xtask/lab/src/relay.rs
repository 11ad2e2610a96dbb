//! A TCP port on this machine that leads to a unix socket: so that a person can open the URL of a daemon which listens
//! inside a network namespace.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

/// A running relay; ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens in the caller's own namespace (port 0: one of the kernel's choice) and connects each client to the unix
    /// socket.
    pub fn start(listen: SocketAddr, socket: impl Into<PathBuf>) -> Result<Self> {
        let socket = socket.into();
        let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::Builder::new().name("lab-relay".into()).spawn(move || {
            runtime.block_on(token.run_until_cancelled(serve(listener, socket)));
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, socket: PathBuf) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            // Out of file descriptors, say: try again in a moment.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let socket = socket.clone();
        tokio::spawn(async move {
            // Where the daemon is away the client sees its connection close, as it would without the relay.
            if let Ok(mut daemon) = tokio::net::UnixStream::connect(&socket).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut daemon).await;
            }
        });
    }
}
