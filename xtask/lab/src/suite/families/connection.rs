//! Connections whose both ends a case holds, and such as come to nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::Place;

/// How long a connection may take to be there or to carry its data.
const LIMIT: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    /// The opener's end.
    pub client: TcpStream,
    /// The other end.
    pub server: TcpStream,
    /// What it came by.
    pub listener: Option<TcpListener>,
}

impl Connection {
    /// Connects `from` to an address that leads to the listener at `at` in `server`; it may be another than `at`.
    pub fn open(from: &Place, to: SocketAddr, server: &Place, at: SocketAddr) -> Result<Self> {
        let listener = server.tcp_listener(at).with_context(|| format!("listening on {at}"))?;
        let client = from.tcp_connect(to, LIMIT).with_context(|| format!("connecting to {to}"))?;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_read_timeout(Some(LIMIT))?;
            end.set_nodelay(true)?;
        }
        Ok(Self { client, server, listener: Some(listener) })
    }

    /// Connects `from` to this address of `server` itself.
    pub fn direct(from: &Place, server: &Place, at: SocketAddr) -> Result<Self> {
        Self::open(from, at, server, at)
    }

    /// The opener's address, as it knows it.
    pub fn client_address(&self) -> Result<SocketAddr> {
        Ok(self.client.local_addr()?)
    }

    /// Sends a few bytes each way.
    pub fn talk(&self) -> Result<()> {
        for (mut from, mut to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            from.write_all(b"netobs lab")?;
            to.read_exact(&mut [0; 10]).context("reading what was sent")?;
        }
        Ok(())
    }
}

/// Connects to a port that refuses at once.
pub fn refuse(from: &Place, to: SocketAddr) -> Result<()> {
    match from.tcp_connect(to, LIMIT) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{to} does not refuse")),
        Ok(_) => bail!("something listens on {to}"),
    }
}

/// Waits until the end of a connection has been reset, no longer than its reads may wait.
pub fn is_reset(end: &mut TcpStream) -> Result<()> {
    match end.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => bail!("reading gives {other:?} instead of a reset"),
    }
}
