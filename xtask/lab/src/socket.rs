//! Sockets inside a place, owned by the lab's own process.
//!
//! A socket keeps for its life the network namespace and the cgroup of the task that made it. The lab's threads cannot
//! be in a pod's cgroup (cgroup v2 moves whole processes), so a short-lived fork enters both, makes the socket and
//! hands it back over a unix socket. To the kernel it is a socket of the pod from then on: that is what a daemon sees.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

use crate::cgroup;
use crate::netns;
use crate::place::Place;

impl Place {
    /// A new socket that belongs to this place's network namespace and cgroup.
    pub fn socket(&self, family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (namespace, processes) = (self.netns().file(), self.cgroup().processes());
        // SAFETY: the process may have other threads, so the child may only do async-signal-safe things: it makes
        // system calls through rustix, which allocate nothing and take no lock, and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            let result = make(&namespace, &processes, family, kind, protocol);
            let sent = send(&theirs, &result);
            // SAFETY: `_exit` runs no destructors and no handlers of the copied process.
            unsafe { libc::_exit(i32::from(!sent)) }
        }
        drop(theirs);
        let result = receive(&ours);
        // SAFETY: reaps the child made above; the status pointer may be null.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        result
    }

    /// Connects over TCP within a time limit. The error kind tells the outcome: `ConnectionRefused`, `TimedOut`,
    /// `HostUnreachable`, `NetworkUnreachable`, `PermissionDenied`.
    pub fn tcp_connect(&self, address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = self.socket(family(address), SocketType::STREAM, None)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {
                let limit = Timespec {
                    tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(limit.subsec_nanos()),
                };
                let mut wait = [PollFd::new(&socket, PollFlags::OUT)];
                if poll(&mut wait, Some(&limit))? == 0 {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("connecting to {address}")));
                }
                sockopt::socket_error(&socket)??;
            }
            Err(error) => return Err(error.into()),
        }
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(TcpStream::from(socket))
    }

    /// Listens on TCP. An IPv6 listener takes IPv6 only.
    pub fn tcp_listener(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.socket(family(address), SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 128)?;
        Ok(TcpListener::from(socket))
    }

    /// Binds a UDP socket. An IPv6 socket takes IPv6 only.
    pub fn udp_socket(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.socket(family(address), SocketType::DGRAM, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        Ok(UdpSocket::from(socket))
    }

    /// Sends one UDP datagram from a port of the kernel's choice; returns the source address it used.
    pub fn udp_send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<SocketAddr> {
        let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = self.udp_socket(any)?;
        socket.connect(to)?;
        let from = socket.local_addr()?;
        socket.send(payload)?;
        Ok(from)
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// In the child: enters the place and makes the socket.
fn make(
    namespace: &File,
    processes: &File,
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> rustix::io::Result<OwnedFd> {
    cgroup::join(processes.as_fd())?;
    netns::enter(namespace.as_fd())?;
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)
}

/// In the child: hands back the socket, or the error number. Whether that worked.
fn send(to: &OwnedFd, result: &rustix::io::Result<OwnedFd>) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let (code, socket) = match result {
        Ok(socket) => (0, Some([socket.as_fd()])),
        Err(error) => (error.raw_os_error(), None),
    };
    if let Some(socket) = &socket
        && !control.push(SendAncillaryMessage::ScmRights(socket))
    {
        return false;
    }
    rustix::net::sendmsg(to, &[IoSlice::new(&code.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL).is_ok()
}

/// In the parent: takes what [`send`] sent.
fn receive(from: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut code = [0; 4];
    let read =
        rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut code)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    match (socket, i32::from_ne_bytes(code)) {
        (Some(socket), 0) => Ok(socket),
        (_, 0) => Err(io::Error::other(format!("the child that makes the socket died ({read} bytes read)"))),
        (_, code) => Err(io::Error::from_raw_os_error(code)),
    }
}
