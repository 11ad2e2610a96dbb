//! Who owns a filter, and whether they still live.
//!
//! A process id would not do: the owner may be in another pid namespace, and in a container every start has the same one.
//! So each netobs that makes filters holds a unix socket with an abstract name. Such names belong to a network namespace
//! (unix(7)), as filters do; nobody else can take a name while it is held, it needs no file system and no right to ask, and
//! the kernel frees it when its holder ends, however that ends.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::kernel::clock::boot_ns;

/// Attempts to find a name that nobody holds. The clock moves on between them.
const ATTEMPTS: usize = 16;

/// This process, as the owner of filters in the network namespace of the thread that made it.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    _socket: UnixDatagram,
}

impl Owner {
    /// Takes a name: the process id, for people, and the time since boot in nanoseconds, so that it is never used twice.
    pub(super) fn claim() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            let name = format!("{}-{:x}", std::process::id(), boot_ns());
            match UnixDatagram::bind_addr(&address(&name)?) {
                Ok(socket) => return Ok(Self { name, _socket: socket }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Whether an owner is gone for sure. Nothing is sent: connecting a datagram socket only looks the name up
/// (`unix_find_abstract`, `net/unix/af_unix.c`: ECONNREFUSED if nobody has it).
pub(super) fn is_gone(name: &str) -> bool {
    let asked =
        UnixDatagram::unbound().and_then(|socket| address(name).and_then(|address| socket.connect_addr(&address)));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("netobs/{name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_owner_is_gone_when_its_socket_is() {
        let (one, two) = (Owner::claim().unwrap(), Owner::claim().unwrap());
        assert_ne!(one.name(), two.name());
        assert!(!is_gone(one.name()) && !is_gone(two.name()));
        let name = one.name().to_owned();
        drop(one);
        assert!(is_gone(&name) && !is_gone(two.name()));
        assert!(is_gone("1-0"));
        // Too long for a socket's name: nothing is known of it.
        assert!(!is_gone(&"1".repeat(200)));
    }
}
