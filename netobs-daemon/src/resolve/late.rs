//! TCP segments that come when their connection needs them no more: every close makes some on a busy machine, and the kernel
//! frees them as drops.

use crate::event::tcp::segment;

/// The reason of a handshake's last ACK for which the listener has no room. It came to the kernel with other reasons of
/// `tcp_check_req` ("tcp: add four drop reasons to `tcp_check_req()`"); before, all of these were `NOT_SPECIFIED`.
pub const LISTEN_OVERFLOW: &str = "TCP_LISTEN_OVERFLOW";

/// A dropped TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Name of the reason, without prefix.
    pub reason: &'a str,
    /// One of [`segment`].
    pub class: u8,
    /// Function that dropped it; `None`: unknown.
    pub location: Option<&'a str>,
    /// Whether the running kernel has the reason [`LISTEN_OVERFLOW`].
    pub tells_overflow: bool,
    /// Port that it went to.
    pub port: Option<u16>,
}

/// Where Linux begins to take the ports of those who open connections from (`ip_local_port_range`,
/// `Documentation/networking/ip-sysctl.rst`): a server there is rare.
const EPHEMERAL: u16 = 32768;

/// Functions that find a segment's socket, and that themselves drop what is for none of its own: segments to sockets in
/// `TIME_WAIT` and to half open connections (`tcp_check_req`).
const DEMULTIPLEXERS: [&str; 2] = ["tcp_v4_rcv", "tcp_v6_rcv"];

/// Whether a segment is one of these. One that asks for a connection (SYN) never is: whoever sent it waits.
///
/// - `NO_SOCKET`, RST (`tcp_v4_rcv`, `net/ipv4/tcp_ipv4.c`): there is nothing left to reset. The reset is told by itself.
/// - `NOT_SPECIFIED` in `tcp_v4_rcv`: what a socket in `TIME_WAIT` was sent (`do_time_wait`) is always freed so, whatever
///   `tcp_timewait_state_process` (`net/ipv4/tcp_minisocks.c`) made of it. A closed socket waits there for the other end's FIN
///   already (substate `FIN_WAIT2`), so this is where the FIN of a healthy connection ends when its opener closed first. Bare
///   ACKs come there as well (window updates), but on kernels that lack `TCP_LISTEN_OVERFLOW`, an ACK that a full listener
///   refuses looks the same: there they are late only where the port is one that clients get.
/// - `TCP_RFC7323_TW_PAWS`: an old duplicate for a socket in `TIME_WAIT`.
/// - `TCP_RFC7323_PAWS` of an open connection (`tcp_validate_incoming`, `net/ipv4/tcp_input.c`): a duplicate that newer segments
///   have overtaken, for example because they were handled by another CPU; the sender gets an ACK for it. While a connection is
///   being opened (`tcp_check_req`, freed by `tcp_v4_rcv`), or where it is not known which of these it was, it may be the failure
///   that several clients behind one address make of each other's timestamps.
pub fn is_late(late: &Segment<'_>) -> bool {
    let Segment { reason, class, location, tells_overflow, port } = *late;
    if class == segment::SYN {
        return false;
    }
    // The compiler names copies of a function `tcp_validate_incoming.isra.0`.
    let function = location.map(|name| name.split('.').next().unwrap_or(name));
    let by_demultiplexer = function.map(|name| DEMULTIPLEXERS.contains(&name));
    let no_handshake = tells_overflow || port.is_some_and(|port| port >= EPHEMERAL);
    match reason {
        "NO_SOCKET" => class == segment::RST,
        "NOT_SPECIFIED" if by_demultiplexer == Some(true) => {
            matches!(class, segment::FIN | segment::RST) || class == segment::ACK && no_handshake
        }
        "TCP_RFC7323_TW_PAWS" => true,
        "TCP_RFC7323_PAWS" => by_demultiplexer == Some(false),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tcp::flag::{ACK, FIN, RST, SYN};
    use crate::resolve::routine::is_routine;

    const PSH: u8 = 0x08;
    const FOUND: &str = "tcp_v4_rcv";

    fn check(reason: &str, flags: u8, location: Option<&str>, expected: bool) {
        for tells_overflow in [true, false] {
            let late = Segment { reason, class: segment::of(flags), location, tells_overflow, port: Some(80) };
            assert_eq!(is_late(&late), expected, "{late:?}");
        }
    }

    #[test]
    fn a_reset_that_meets_no_socket() {
        check("NO_SOCKET", RST, None, true);
        check("NO_SOCKET", RST | ACK, Some(FOUND), true);
        check("NO_SOCKET", SYN, Some(FOUND), false);
        check("NO_SOCKET", ACK, Some(FOUND), false);
        check("NO_SOCKET", FIN | ACK, Some(FOUND), false);
    }

    #[test]
    fn what_a_socket_in_time_wait_is_sent() {
        for location in [FOUND, "tcp_v6_rcv"] {
            check("NOT_SPECIFIED", FIN | ACK, Some(location), true);
            check("NOT_SPECIFIED", FIN | ACK | PSH, Some(location), true);
            check("NOT_SPECIFIED", RST, Some(location), true);
            // A connection that is not let in again.
            check("NOT_SPECIFIED", SYN, Some(location), false);
            check("NOT_SPECIFIED", SYN | ACK, Some(location), false);
            check("NOT_SPECIFIED", ACK | PSH, Some(location), false);
        }
        check("NOT_SPECIFIED", FIN | ACK, Some("veth_xmit"), false);
        check("NOT_SPECIFIED", FIN | ACK, None, false);
    }

    #[test]
    fn a_bare_ack_where_a_full_listener_would_be_told() {
        let ack = |tells_overflow, port| {
            is_late(&Segment {
                reason: "NOT_SPECIFIED",
                class: segment::of(ACK),
                location: Some(FOUND),
                tells_overflow,
                port,
            })
        };
        assert!(ack(true, Some(80)) && !ack(false, Some(80)) && ack(false, Some(40_000)) && !ack(false, None));
        check(LISTEN_OVERFLOW, ACK, Some(FOUND), false);
    }

    #[test]
    fn old_timestamps() {
        let open = Some("tcp_validate_incoming");
        check("TCP_RFC7323_PAWS", ACK, open, true);
        check("TCP_RFC7323_PAWS", ACK | PSH, Some("tcp_validate_incoming.isra.0"), true);
        check("TCP_RFC7323_PAWS", FIN | ACK, Some("tcp_drop_reason"), true);
        // Clients behind one address.
        check("TCP_RFC7323_PAWS", SYN, open, false);
        check("TCP_RFC7323_PAWS", ACK, Some(FOUND), false);
        check("TCP_RFC7323_PAWS", ACK, Some("tcp_v6_rcv.part.0"), false);
        check("TCP_RFC7323_PAWS", ACK, None, false);
        check("TCP_RFC7323_TW_PAWS", FIN | ACK, None, true);
        check("TCP_RFC7323_TW_PAWS", SYN, Some(FOUND), false);
    }

    /// Data that was wanted is lost, or a receiver is too slow.
    #[test]
    fn losses_are_told() {
        for reason in [
            "TCP_OVERWINDOW",
            "TCP_ZEROWINDOW",
            "SOCKET_BACKLOG",
            "SOCKET_RCVBUFF",
            "PROTO_MEM",
            "TCP_OFO_DROP",
            "TCP_OFO_QUEUE_PRUNE",
            "TCP_INVALID_SEQUENCE",
            "TCP_RFC7323_TSECR",
            "TCP_CSUM",
        ] {
            check(reason, ACK | PSH, Some("tcp_data_queue"), false);
            assert!(!is_routine(reason, None, Some(6)), "{reason}");
        }
        for reason in ["TCP_OLD_SEQUENCE", "TCP_OLD_ACK", "TCP_OLD_DATA", "TCP_RFC7323_PAWS_ACK"] {
            assert!(is_routine(reason, None, Some(6)), "{reason}");
        }
    }
}
