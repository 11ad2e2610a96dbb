//! Which daemon to ask.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use hyper::http::uri::Authority;

/// Where the daemon listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/netobs/netobs.sock";
const DEFAULT_TCP: &str = "127.0.0.1:7117";
/// Port of an address that names none.
const DEFAULT_PORT: u16 = 7117;

/// Which daemon to ask.
#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// The daemon's address; `None`: the unix socket if it is there, else TCP on the loopback.
    #[arg(
        long,
        env = "NETOBS_SERVER",
        value_name = "ADDRESS",
        help = "The daemon's address, http://HOST:PORT or unix:PATH [default: unix:/run/netobs/netobs.sock if it is \
                there, else http://127.0.0.1:7117]"
    )]
    pub server: Option<Server>,
}

/// Address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// TCP: host and port.
    Tcp(String),
    /// Unix socket.
    Unix(PathBuf),
}

impl ServerArgs {
    /// The address given, or the default.
    pub fn address(&self) -> Server {
        self.server.clone().unwrap_or_else(|| {
            let is_socket = std::fs::metadata(DEFAULT_SOCKET).is_ok_and(|file| file.file_type().is_socket());
            if is_socket { Server::Unix(DEFAULT_SOCKET.into()) } else { Server::Tcp(DEFAULT_TCP.to_owned()) }
        })
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no address: expected http://HOST:PORT or unix:/PATH");
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if Path::new(path).is_absolute() { Ok(Self::Unix(path.into())) } else { Err(expected()) };
        }
        let rest = text.strip_prefix("http://").ok_or_else(expected)?;
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| expected())?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(expected());
        }
        Ok(Self::Tcp(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(DEFAULT_PORT))))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let parsed: Result<Server, _> = text.parse();
        assert_eq!(parsed.ok().map(|server| server.to_string()).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn addresses() {
        check("http://127.0.0.1:7117", Some("http://127.0.0.1:7117"));
        check("http://localhost/", Some("http://localhost:7117"));
        check("http://[::1]:80", Some("http://[::1]:80"));
        check("unix:/run/x.sock", Some("unix:/run/x.sock"));
        check("unix:///run/x.sock", Some("unix:/run/x.sock"));
        for wrong in ["", "localhost:7117", "https://localhost", "unix:x.sock", "http://", "http://a/b", "http://u@h"] {
            check(wrong, None);
        }
    }
}
