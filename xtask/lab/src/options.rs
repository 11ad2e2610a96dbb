//! Socket options with which cases make connections fail in a certain way.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::net::sockopt;

/// Values of `TCP_REPAIR` (include/uapi/linux/tcp.h): on, and off without probing the other end's window.
const REPAIR_ON: i32 = 1;
const REPAIR_OFF: i32 = -1;
/// Queue of `TCP_REPAIR_QUEUE` (likewise).
const RECEIVE_QUEUE: i32 = 1;

fn set(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is a readable int of the given size.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends datagrams as they are, whatever their size and whatever the kernel has learned of the path (`IP_PMTUDISC_PROBE`):
/// DF is set, the sender's own interface is the only limit.
pub fn never_fragment(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    if to.is_ipv4() {
        set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    }
}

/// Makes closing the connection abort it (`SO_LINGER` with time 0).
pub fn abort_on_close(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Closes a connection without a word to the other end, as a machine does that loses its power (`TCP_REPAIR`).
pub fn forget(stream: TcpStream) -> io::Result<()> {
    set(&stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, REPAIR_ON)?;
    drop(stream);
    Ok(())
}

/// The sequence number that a connection's socket expects next: of a segment with it, it believes anything.
pub fn next_expected(stream: &TcpStream) -> io::Result<u32> {
    set(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, REPAIR_ON)?;
    let number = set(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, RECEIVE_QUEUE).and_then(|()| {
        let (mut number, mut size) = (0_u32, size_of::<u32>() as libc::socklen_t);
        // SAFETY: `number` is a writable place of the given size.
        let done = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_QUEUE_SEQ,
                (&raw mut number).cast(),
                &raw mut size,
            )
        };
        if done == 0 { Ok(number) } else { Err(io::Error::last_os_error()) }
    });
    set(stream, libc::IPPROTO_TCP, libc::TCP_REPAIR, REPAIR_OFF)?;
    number
}
