//! Drops and resets that are part of healthy traffic: they are told, as `info`, and fail nobody.

use std::net::IpAddr;

use crate::event::headers::protocol::ICMPV6;
use crate::event::joined::Reset;
use crate::event::observation::ResetCause;
use crate::event::raw::{RawSocket, SocketSide, is_group};
use crate::event::tcp::{flag, state};

/// Reasons (names of `enum skb_drop_reason`, `include/net/dropreason-core.h`) for which nothing was lost that anybody
/// wanted: copies of what had arrived, packets for others, leftovers of a socket that its owner closed.
const ROUTINE: [&str; 17] = [
    // Retransmitted copies of data, or old ACKs, that had arrived.
    "TCP_OLD_DATA",
    "TCP_OLD_SEQUENCE",
    "TCP_OLD_ACK",
    "TCP_TOO_OLD_ACK",
    "TCP_OFOMERGE",
    // A copy of a fragment that had arrived.
    "DUP_FRAG",
    // Paid for by a PAWS check: likewise old.
    "TCP_RFC7323_PAWS_ACK",
    // The end of a connection: a received RST is freed with it, later segments meet no open socket.
    "TCP_RESET",
    "TCP_CLOSE",
    // The owner closed the socket with data unread.
    "QUEUE_PURGE",
    "SOCKET_CLOSE",
    // Not for this host: flooded by a bridge, or seen by a promiscuous interface.
    "OTHERHOST",
    "UNICAST_IN_L2_MULTICAST",
    "IPV6_NDISC_NS_OTHERHOST",
    // It was read, and freed like one that is dropped.
    "SKB_CONSUMED",
    // Nobody here speaks it.
    "UNHANDLED_PROTO",
    // The owner's own filter (`SO_ATTACH_FILTER`) refused it.
    "SOCKET_FILTER",
];

/// Reasons that say nothing when the packet went to a group: nobody here had joined it.
const NOBODY_JOINED: [&str; 4] = ["NOT_SPECIFIED", "NO_SOCKET", "IP_INVALID_DEST", "IP_INADDRERRORS"];

/// What the node itself says to groups over an interface that is not up yet, or not any more, goes to a queue that takes nothing
/// (`noop_qdisc`, `net/sched/sch_generic.c`): reports of group membership, solicitations.
const NO_QUEUE_YET: &str = "QDISC_DROP";

/// ICMP, for IPv4 and IPv6. With them `NO_SOCKET` comes from `ping_rcv` (`net/ipv4/ping.c`) alone: an echo reply for which there
/// is no ping socket, freed after the raw socket of a ping that uses one had its copy.
const ECHO: [u8; 2] = [1, 58];

/// Whether a drop is routine. `reason` is without its prefix, `protocol` the IP protocol number.
pub fn is_routine(reason: &str, destination: Option<IpAddr>, protocol: Option<u8>) -> bool {
    ROUTINE.contains(&reason)
        || destination.is_some_and(is_group) && NOBODY_JOINED.contains(&reason)
        || destination.is_some_and(is_group) && reason == NO_QUEUE_YET && protocol == Some(ICMPV6)
        || reason == "NO_SOCKET" && protocol.is_some_and(|protocol| ECHO.contains(&protocol))
}

/// Whether a reset is routine: of a connection that an end had closed already. A client that has what it wants and closes,
/// with the rest unread or on its way, makes one; so do late segments of a connection that is over. `receiver_here`: the
/// destination is on this node, so a socket that gave up a connection would have been heard (unless in a storm of resets,
/// when little is told one by one).
///
/// What was refused or rejected is never routine, nor is the end of a connection that both ends had open.
pub fn is_routine_reset(reset: &Reset, receiver_here: bool) -> bool {
    let unknown_to_both = reset.cause == ResetCause::NoConnection && reset.receiver.is_none() && receiver_here;
    match reset.cause {
        ResetCause::Refused | ResetCause::Rejected | ResetCause::Unknown => false,
        ResetCause::Aborted | ResetCause::NoConnection => {
            let closed = [&reset.sender, &reset.receiver].into_iter().flatten().any(|socket| was_closed(socket));
            let answers_fin = reset.sender.as_ref().and_then(|sender| sender.trigger_flags);
            closed || unknown_to_both || answers_fin.is_some_and(|flags| flags & flag::FIN != 0)
        }
    }
}

/// Whether a socket's state says that one of the ends had closed the connection.
fn was_closed(socket: &RawSocket) -> bool {
    match state_before(socket) {
        None | Some(state::ESTABLISHED | state::SYN_SENT | state::SYN_RECV | state::NEW_SYN_RECV | state::LISTEN) => {
            false
        }
        // FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING.
        Some(number) => number <= 11,
    }
}

/// The state of a socket before it had to do with the reset. Of one that gives up a connection on its own account it is not
/// known: `__tcp_close` and `tcp_disconnect` (net/ipv4/tcp.c) set CLOSE first.
pub fn state_before(socket: &RawSocket) -> Option<u8> {
    socket.state.filter(|state| socket.side != SocketSide::Sent || *state != state::CLOSE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(reason: &str, destination: Option<&str>, expected: bool) {
        let destination = destination.map(|ip| ip.parse().unwrap());
        assert_eq!(is_routine(reason, destination, Some(17)), expected, "{reason} {destination:?}");
    }

    #[test]
    fn failures_are_no_routine() {
        check("NETFILTER_DROP", Some("10.1.0.2"), false);
        // A rule that drops multicast was written by somebody.
        check("NETFILTER_DROP", Some("224.0.0.251"), false);
        check("NO_SOCKET", Some("10.1.0.2"), false);
        check("NOT_SPECIFIED", None, false);
        check("NOT_SPECIFIED", Some("fd00::2"), false);
        check("REASON_999", Some("ff02::2"), false);
    }

    #[test]
    fn an_echo_reply_to_a_raw_socket_is() {
        assert!(is_routine("NO_SOCKET", None, Some(1)) && is_routine("NO_SOCKET", None, Some(58)));
        assert!(!is_routine("NETFILTER_DROP", None, Some(1)) && !is_routine("NO_SOCKET", None, None));
    }

    #[test]
    fn healthy_traffic_is() {
        check("TCP_OLD_DATA", Some("10.1.0.2"), true);
        check("QUEUE_PURGE", None, true);
        check("SKB_CONSUMED", Some("fd00::2"), true);
        let report = |ip: &str, protocol| is_routine("QDISC_DROP", Some(ip.parse().unwrap()), Some(protocol));
        assert!(report("ff02::16", 58) && !report("ff02::fb", 17) && !report("fd00::2", 58));
        check("NOT_SPECIFIED", Some("ff02::2"), true);
        check("NO_SOCKET", Some("255.255.255.255"), true);
    }
}
