//! Packets of any content from raw sockets: source addresses that are not the sender's, fragments, floods.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SendFlags, SocketType};

use crate::packet;
use crate::place::Place;

/// Packets that one system call sends.
const BATCH: usize = 64;

impl Place {
    /// Sends one UDP datagram with this source address and port, which need not be the place's own. Both addresses
    /// must be of one family. It goes where the routes lead, from a raw socket.
    pub fn send_spoofed_udp(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let packet = packet::udp(from, to, payload).ok_or_else(impossible)?;
        self.raw_sender(to)?.send(&packet)
    }

    /// A sender of whole IP packets to the address of `to`.
    pub fn raw_sender(&self, to: SocketAddr) -> io::Result<RawSender> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        // IPPROTO_RAW: the packet brings its own IP header, for both families (raw(7), net/ipv6/raw.c).
        let socket = self.socket(family, SocketType::RAW, Some(rustix::net::ipproto::RAW))?;
        // The port of a raw address is no port: IPv6 wants it to be 0.
        rustix::net::connect(&socket, &SocketAddr::new(to.ip(), 0))?;
        Ok(RawSender(socket))
    }
}

/// The addresses are not of one family, or it is too long.
pub(crate) fn impossible() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "two families, or too long")
}

/// A raw socket of a place, connected to an address.
#[derive(Debug)]
pub struct RawSender(OwnedFd);

impl RawSender {
    /// Sends one packet, which begins with its IP header.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, packet, SendFlags::empty())?;
        Ok(())
    }

    /// Sends `count` packets, these in turn, in as few system calls as the kernel allows: all of them, unless there is an
    /// error.
    pub fn flood(&self, packets: &[Vec<u8>], count: u64) -> io::Result<()> {
        let mut parts: Vec<libc::iovec> = packets
            .iter()
            .cycle()
            .take(BATCH.max(packets.len()))
            .map(|packet| libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: all zero is a valid message header without address, parts and control data.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        if messages.is_empty() {
            return Err(impossible());
        }
        let (mut left, mut next) = (count, 0);
        while left > 0 {
            let room = messages.len() - next;
            let wanted = usize::try_from(left).map_or(room, |left| left.min(room)).min(BATCH);
            // SAFETY: the headers, the parts they point to and the packets those point to live across the call, which only
            // reads the latter two; `wanted` headers follow `next`.
            let sent = unsafe {
                libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr().add(next), wanted as libc::c_uint, 0)
            };
            match usize::try_from(sent) {
                Ok(sent) => {
                    left -= sent as u64;
                    next = (next + sent) % messages.len();
                }
                // A full queue of the sender's own interface: nothing was lost, once more.
                Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS) => std::thread::yield_now(),
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}
