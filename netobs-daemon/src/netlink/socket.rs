//! Two sockets: one that asks and waits for the answer, one that hears of changes.
//!
//! A netlink socket belongs to the network namespace of the thread that makes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::wire::{
    Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, messages, request, u32_at,
};

/// The kernel fills at most 32 KiB per datagram of a dump (`NLMSG_GOODSIZE` and `max_recvmsg_len`, `af_netlink.c`).
const BUFFER: usize = 64 << 10;
/// A kernel that does not answer for this long will not.
const PATIENCE: Duration = Duration::from_secs(2);
/// Room for changes while the daemon is busy, in bytes; past it the kernel says ENOBUFS and everything is read again.
const BACKLOG: usize = 1 << 20;
/// A dump that the table's changes interrupted is repeated this often.
const ATTEMPTS: usize = 5;

fn open(groups: u32, flags: SocketFlags) -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC | flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A datagram from the kernel; `None` for one from anybody else.
fn receive<'b>(socket: BorrowedFd<'_>, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    let (received, length, sender) = rustix::net::recvfrom(socket, &mut *buffer, RecvFlags::TRUNC)?;
    if length > received {
        return Err(io::Error::other("netlink datagram larger than the buffer"));
    }
    let kernel =
        sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == 0);
    Ok(kernel.then_some(&buffer[..received]))
}

/// Asks and waits.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Asker {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = open(0, SocketFlags::empty())?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, buffer: vec![0; BUFFER], sequence: 0 })
    }

    /// Every entry of a table, decoded by `entry`; repeated while changes interrupt it.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        entry: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..ATTEMPTS {
            let mut entries = Vec::new();
            if self.exchange(kind, NLM_F_DUMP, body, |message| entries.extend(entry(message)))? {
                return Ok(entries);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the table kept changing while it was read"))
    }

    /// One answer to one request.
    pub(crate) fn ask<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        answer: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        self.exchange(kind, 0, body, |message| found = answer(message))?;
        Ok(found)
    }

    /// A change, or a question whose answers come before an acknowledgement; returns when that has come.
    pub(crate) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.exchange(kind, flags | NLM_F_ACK, body, each).map(drop)
    }

    /// Whether the answer is consistent.
    fn exchange(&mut self, kind: u16, flags: u16, body: &[u8], mut each: impl FnMut(&Message<'_>)) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request(kind, flags, self.sequence, body);
        rustix::net::sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut consistent = true;
        loop {
            let Some(datagram) = receive(self.socket.as_fd(), &mut self.buffer)? else { continue };
            // What is left of an earlier answer that was given up has another number.
            for message in messages(datagram).filter(|message| message.sequence == self.sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return Ok(consistent),
                    NLMSG_ERROR => {
                        return match u32_at(message.payload, 0).unwrap_or(0).cast_signed() {
                            0 => Ok(consistent),
                            code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                        };
                    }
                    _ => each(&message),
                }
                if flags == 0 {
                    return Ok(consistent);
                }
            }
        }
    }
}

/// What a look at the socket brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing more for now.
    Nothing,
    /// A datagram was handed over.
    Some,
    /// Changes were lost: read everything again.
    Lost,
}

/// Hears of changes.
pub(crate) struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    pub(crate) fn open(groups: u32) -> io::Result<Self> {
        let socket = open(groups, SocketFlags::NONBLOCK)?;
        // The kernel may grant less; ENOBUFS is handled anyway.
        let _ = set_socket_recv_buffer_size(&socket, BACKLOG);
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    /// Hands over the messages of one datagram, without waiting.
    pub(crate) fn hear(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<Heard> {
        match receive(self.socket.as_fd(), &mut self.buffer) {
            Ok(datagram) => {
                messages(datagram.unwrap_or_default()).for_each(|message| each(&message));
                Ok(Heard::Some)
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => Ok(Heard::Nothing),
                Some(Errno::INTR) => Ok(Heard::Some),
                // Not an error of the system call: a datagram that did not fit the buffer.
                Some(Errno::NOBUFS) | None => Ok(Heard::Lost),
                Some(_) => Err(error),
            },
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
