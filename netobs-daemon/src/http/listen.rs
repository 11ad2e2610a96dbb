//! The sockets that the API listens on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// The owner and its group may connect.
const MODE: u32 = 0o660;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// TCP address; `None`: not on TCP.
    pub tcp: Option<SocketAddr>,
    /// Path of the unix socket; `None`: not on one.
    pub unix: Option<PathBuf>,
    /// Names that a Host header may carry beside loopback ones.
    pub extra_hosts: Vec<String>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            tcp: Some(SocketAddr::from(([127, 0, 0, 1], 7117))),
            unix: Some(PathBuf::from("/run/netobs/netobs.sock")),
            extra_hosts: Vec::new(),
        }
    }
}

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// TCP.
    #[error("cannot listen on {address}: {error}; is another netobs running? Choose another address")]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Somebody answers on the unix socket.
    #[error("{0} is in use: something answers on it; stop it or choose another path")]
    InUse(PathBuf),
    /// There is a file of that name that is no socket.
    #[error("{0} exists and is no socket; remove it or choose another path")]
    NoSocket(PathBuf),
    /// Anything else about the unix socket.
    #[error("cannot listen on {path}: {error}")]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Open sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    /// TCP, with Host check.
    pub tcp: Option<TcpListener>,
    /// Unix.
    pub unix: Option<UnixSocket>,
    /// Names that a Host header may carry beside loopback ones.
    pub extra_hosts: Vec<String>,
}

/// A unix socket that removes its file when dropped, unless the file is another's by then.
#[derive(Debug)]
pub struct UnixSocket {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
}

#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

/// Opens the sockets. Runs within a tokio runtime.
pub async fn bind(config: &ListenConfig) -> Result<Listeners, ListenError> {
    let tcp = match config.tcp {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|error| ListenError::Tcp { address, error })?),
        None => None,
    };
    let unix = config.unix.as_deref().map(bind_unix).transpose()?;
    Ok(Listeners { tcp, unix, extra_hosts: config.extra_hosts.clone() })
}

/// Opens a unix socket; a file that nobody answers on any more is replaced.
pub fn bind_unix(path: &Path) -> Result<UnixSocket, ListenError> {
    remove_stale(path)?;
    let open = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket: OwnedFd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        // Before listen(2): until then nobody can connect, so there is no moment with wider permissions.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
        rustix::net::listen(&socket, BACKLOG)?;
        UnixListener::from_std(socket.into())
    };
    let listener = open().map_err(|error| ListenError::Unix { path: path.to_owned(), error })?;
    Ok(UnixSocket { listener, file: SocketFile { path: path.to_owned(), inode: inode(path) } })
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Unix { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ListenError::InUse(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl UnixSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            // Nobody is left to be told that this failed; the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/netobs.sock");
        let first = bind_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(bind_unix(&path), Err(ListenError::InUse(_))));

        // A daemon that was killed leaves the file, and nobody behind it.
        let UnixSocket { listener, file } = first;
        drop(listener);
        std::mem::forget(file);
        let second = bind_unix(&path).unwrap();
        drop(second);
        assert!(!path.exists());

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_unix(&path), Err(ListenError::NoSocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn another_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("netobs.sock");
        let socket = bind_unix(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
