//! What a reset means, from all that was seen of it.

use crate::event::observation::ResetCause;
use crate::event::raw::{RawReset, RawSocket, Side, SocketSide};
use crate::event::tcp::{flag, state};

/// What was seen of a reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Its packet.
    pub packet: Option<&'a RawReset>,
    /// What the sending side says.
    pub sender: Option<&'a RawSocket>,
    /// What the receiving side says.
    pub receiver: Option<&'a RawSocket>,
    /// A rule dropped the packet that it answers.
    pub rejected: bool,
    /// The flags of the segment that it answers, where that was dropped for want of a socket with its connection.
    pub unmet_flags: Option<u8>,
}

/// The strongest evidence counts: the rule's drop, then what the sending side says, then the drop of the segment that met no
/// socket (all that kernels before 6.10 say of it), then the receiving side, then the packet itself.
///
/// Of a reset from afar there is nothing but the packet, and often not even a socket that receives it here. One with ACK and
/// a sequence number is what a stack sends that gives a connection up (`tcp_send_active_reset`, `net/ipv4/tcp_output.c`), so it
/// is an abort. One without ACK answers a segment that has it (RFC 9293 section 3.5.2), whether or not there still is a
/// connection: unknown, unless a connection was seen on this side.
pub fn cause(seen: &Seen<'_>) -> ResetCause {
    if seen.rejected {
        return ResetCause::Rejected;
    }
    if let Some(cause) = seen.sender.and_then(|sender| by_sender(sender, seen.packet)) {
        return cause;
    }
    if let Some(flags) = seen.unmet_flags {
        return if opens(flags) { ResetCause::Refused } else { ResetCause::NoConnection };
    }
    if let Some(receiver) = seen.receiver.and_then(|receiver| receiver.state) {
        return if receiver == state::SYN_SENT { ResetCause::Refused } else { ResetCause::Aborted };
    }
    if seen.packet.is_some_and(answers_syn) {
        return ResetCause::Refused;
    }
    if opened(seen) || seen.packet.is_some_and(|packet| packet.tcp_flags & flag::ACK != 0) {
        return ResetCause::Aborted;
    }
    ResetCause::Unknown
}

/// `None`: it does not tell.
fn by_sender(sender: &RawSocket, packet: Option<&RawReset>) -> Option<ResetCause> {
    if sender.side != SocketSide::Answered {
        return Some(ResetCause::Aborted);
    }
    let to_syn = match sender.trigger_flags {
        Some(flags) => Some(opens(flags)),
        None => packet.map(answers_syn),
    };
    match (to_syn, sender.state) {
        (Some(true), _) => Some(ResetCause::Refused),
        // A listener has no connection, and TIME_WAIT is what is left of one that both ends closed.
        (Some(false), None | Some(state::LISTEN | state::TIME_WAIT)) => Some(ResetCause::NoConnection),
        (_, Some(_)) => Some(ResetCause::Aborted),
        (None, None) => None,
    }
}

/// Whether a segment with these flags asks for a connection.
fn opens(flags: u8) -> bool {
    flags & (flag::SYN | flag::ACK) == flag::SYN
}

/// RFC 9293 section 3.5.2, group 1: a reset that answers a segment without ACK acknowledges it, and has sequence number 0.
pub fn answers_syn(packet: &RawReset) -> bool {
    packet.tcp_flags & flag::ACK != 0 && packet.sequence == 0
}

fn opened(seen: &Seen<'_>) -> bool {
    let by_packet = seen.packet.is_some_and(|packet| packet.opener.is_some() || packet.opened_ns.is_some());
    let said = |socket: &RawSocket| socket.opener.is_some() || socket.opened_ns.is_some();
    by_packet || [seen.sender, seen.receiver].into_iter().flatten().any(said)
}

/// Who opened a connection, as far as that is known or its ports tell: exactly one of them is out of the range that Linux takes
/// ports for its clients from (`net.ipv4.ip_local_port_range`, from 32768).
pub fn opener(known: Option<Side>, source_port: u16, destination_port: u16) -> Option<Side> {
    const EPHEMERAL: u16 = 32_768;
    known.or(match (source_port >= EPHEMERAL, destination_port >= EPHEMERAL) {
        (true, false) => Some(Side::Source),
        (false, true) => Some(Side::Destination),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "so each case is one line")]

    use super::*;
    use crate::event::raw::Context;
    use crate::event::tcp::flag::{ACK, FIN, RST, SYN};
    use crate::event::tcp::state::{ESTABLISHED, LISTEN, SYN_SENT, TIME_WAIT};
    use ResetCause::{Aborted, NoConnection, Refused, Rejected, Unknown};
    use SocketSide::{Answered, Received, Sent};

    const CONTEXT: Context =
        Context { boot_ns: 0, packet: 0, digest: None, cgroup: None, netns: None, ifindex: None, cpu: 0 };

    fn packet(flags: u8, sequence: u32) -> Option<RawReset> {
        Some(RawReset {
            context: CONTEXT,
            source: "10.0.0.1:80".parse().unwrap(),
            destination: "10.0.0.2:40000".parse().unwrap(),
            egress: false,
            translated: false,
            arrival: None,
            sequence,
            acknowledgment: 0,
            tcp_flags: RST | flags,
            hop_limit: 64,
            opener: None,
            opened_ns: None,
        })
    }

    fn socket(side: SocketSide, state: Option<u8>, trigger_flags: Option<u8>) -> Option<RawSocket> {
        let RawReset { context, source, destination, .. } = packet(0, 0).unwrap();
        Some(RawSocket {
            context,
            source,
            destination,
            side,
            reason: None,
            state,
            trigger_flags,
            trigger_sequence: 0,
            alone: false,
            opener: None,
            opened_ns: None,
        })
    }

    fn check(packet: Option<RawReset>, sender: Option<RawSocket>, receiver: Option<RawSocket>, expected: ResetCause) {
        let (packet, sender, receiver) = (packet.as_ref(), sender.as_ref(), receiver.as_ref());
        let seen = Seen { packet, sender, receiver, ..Seen::default() };
        assert_eq!(cause(&seen), expected, "{seen:?}");
        assert_eq!(cause(&Seen { rejected: true, ..seen }), Rejected);
    }

    #[test]
    fn by_the_packet_alone() {
        check(packet(ACK, 0), None, None, Refused);
        check(packet(ACK, 5), None, None, Aborted);
        check(packet(0, 5), None, None, Unknown);
        let known = packet(0, 5).map(|packet| RawReset { opener: Some(Side::Source), ..packet });
        check(known, None, None, Aborted);
    }

    #[test]
    fn by_the_sender() {
        check(packet(ACK, 5), socket(Sent, Some(7), None), None, Aborted);
        check(packet(0, 5), socket(Answered, Some(ESTABLISHED), Some(ACK)), None, Aborted);
        check(packet(0, 5), socket(Answered, None, Some(ACK)), None, NoConnection);
        check(packet(0, 5), socket(Answered, None, Some(SYN | ACK)), None, NoConnection);
        check(packet(ACK, 0), socket(Answered, None, Some(FIN)), None, NoConnection);
        check(packet(0, 5), socket(Answered, Some(LISTEN), Some(ACK)), None, NoConnection);
        check(packet(0, 5), socket(Answered, Some(TIME_WAIT), Some(ACK)), None, NoConnection);
        check(packet(ACK, 0), socket(Answered, None, Some(SYN)), None, Refused);
        // A full queue, where tcp_abort_on_overflow is set.
        check(packet(ACK, 0), socket(Answered, Some(LISTEN), Some(SYN)), None, Refused);
        check(None, socket(Answered, None, Some(SYN)), None, Refused);
        // What was answered could not be read.
        check(packet(ACK, 0), socket(Answered, None, None), None, Refused);
        check(packet(0, 5), socket(Answered, None, None), None, NoConnection);
        check(None, socket(Answered, None, None), None, Unknown);
        // It knows better than the receiver.
        check(packet(0, 5), socket(Answered, None, Some(ACK)), socket(Received, Some(ESTABLISHED), None), NoConnection);
    }

    #[test]
    fn by_the_receiver() {
        check(packet(0, 5), None, socket(Received, Some(SYN_SENT), None), Refused);
        check(packet(ACK, 0), None, socket(Received, Some(ESTABLISHED), None), Aborted);
        check(None, None, socket(Received, Some(ESTABLISHED), None), Aborted);
    }

    #[test]
    fn by_the_segment_that_met_no_socket() {
        let check = |sender: Option<RawSocket>, flags, expected| {
            let (packet, receiver) = (packet(0, 5), socket(Received, Some(ESTABLISHED), None));
            let (packet, sender, receiver) = (packet.as_ref(), sender.as_ref(), receiver.as_ref());
            let seen = Seen { packet, sender, receiver, unmet_flags: Some(flags), rejected: false };
            assert_eq!(cause(&seen), expected, "{seen:?}");
        };
        check(None, ACK, NoConnection);
        check(None, SYN | ACK, NoConnection);
        check(None, SYN, Refused);
        // A socket's own word is better.
        check(socket(Answered, Some(ESTABLISHED), Some(ACK)), ACK, Aborted);
    }

    #[test]
    fn who_opened_it() {
        assert_eq!(opener(None, 80, 40_000), Some(Side::Destination));
        assert_eq!(opener(None, 40_000, 80), Some(Side::Source));
        assert_eq!((opener(None, 40_000, 50_000), opener(None, 80, 90)), (None, None));
        assert_eq!(opener(Some(Side::Source), 80, 40_000), Some(Side::Source));
    }
}
