//! Address translation of a packet: from its conntrack entry, or from the addresses that it had at two places.

use std::net::{IpAddr, SocketAddr};

use crate::event::headers::protocol::TCP;
use crate::event::joined::Translation;
use crate::event::raw::{Conntrack, Side, Tuple};

type End = (IpAddr, Option<u16>);

fn source(tuple: &Tuple) -> End {
    (tuple.source, tuple.source_port)
}

fn destination(tuple: &Tuple) -> End {
    (tuple.destination, tuple.destination_port)
}

/// What the entry of a packet says was translated. `None` if nothing was, or if the packet is not one of the flow
/// itself (an ICMP error carries the entry of the flow that it quotes).
///
/// Netfilter changes a packet in steps, so the packet may carry either form of each end.
pub fn of_packet(packet: &Tuple, entry: &Conntrack) -> Option<Translation> {
    let Conntrack { original, reply, .. } = entry;
    if packet.protocol != original.protocol {
        return None;
    }
    let opener = [source(original), destination(reply)];
    let server = [destination(original), source(reply)];
    let from_to =
        |from: &[End; 2], to: &[End; 2]| is_one_of(source(packet), from) && is_one_of(destination(packet), to);
    let reply_packet = if from_to(&opener, &server) {
        false
    } else if from_to(&server, &opener) {
        true
    } else {
        return None;
    };
    let backend = (server[0] != server[1]).then_some(server[1]);
    if backend.is_none() && opener[0] == opener[1] {
        return None;
    }
    Some(Translation { original: *original, backend, reply: reply_packet })
}

/// Source and destination of a TCP segment.
pub type Pair = (SocketAddr, SocketAddr);

/// What the addresses of one TCP segment say was translated, at the first place and at the last. `None` if nothing was.
///
/// Whether it goes to a server behind another address or comes back from one, the addresses alone do not tell: who opened
/// the connection does.
pub fn of_sights(first: Pair, last: Pair, opener: Side) -> Option<Translation> {
    if first == last {
        return None;
    }
    let (original, asked, backend) = match opener {
        Side::Source => (first, first.1, last.1),
        Side::Destination => ((last.1, last.0), last.0, first.0),
    };
    let backend = (asked != backend).then_some((backend.ip(), Some(backend.port())));
    Some(Translation { original: tcp(original), backend, reply: opener == Side::Destination })
}

/// A TCP segment's addresses and ports.
pub fn tcp((source, destination): Pair) -> Tuple {
    Tuple {
        protocol: TCP,
        source: source.ip(),
        destination: destination.ip(),
        source_port: Some(source.port()),
        destination_port: Some(destination.port()),
    }
}

/// Where the packet's port could not be read, its address decides.
fn is_one_of((ip, port): End, ends: &[End; 2]) -> bool {
    ends.iter().any(|(known_ip, known_port)| ip == *known_ip && (port.is_none() || port == *known_port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use super::*;

    fn tuple(source: &str, destination: &str) -> Tuple {
        let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        Tuple {
            protocol: 6,
            source: source.ip(),
            destination: destination.ip(),
            source_port: Some(source.port()),
            destination_port: Some(destination.port()),
        }
    }

    const CLIENT: &str = "10.0.0.1:4711";
    const SERVICE: &str = "10.96.0.10:80";
    const BACKEND: &str = "10.0.0.2:8080";
    const NODE: &str = "192.0.2.1:60000";

    fn check(packet: (&str, &str), original: (&str, &str), reply: (&str, &str)) -> Option<(Option<SocketAddr>, bool)> {
        let entry = Conntrack { original: tuple(original.0, original.1), reply: tuple(reply.0, reply.1), status: 0 };
        let found = of_packet(&tuple(packet.0, packet.1), &entry)?;
        assert_eq!(found.original, entry.original);
        Some((found.backend.map(|(ip, port)| SocketAddr::new(ip, port.unwrap())), found.reply))
    }

    #[test]
    fn each_step_of_a_translated_packet() {
        let backend = Some(BACKEND.parse().unwrap());
        let entry = ((CLIENT, SERVICE), (BACKEND, NODE));
        for (packet, reply) in [
            ((CLIENT, SERVICE), false),
            ((CLIENT, BACKEND), false),
            ((NODE, BACKEND), false),
            ((BACKEND, NODE), true),
            ((BACKEND, CLIENT), true),
            ((SERVICE, CLIENT), true),
        ] {
            assert_eq!(check(packet, entry.0, entry.1), Some((backend, reply)), "{packet:?}");
        }
    }

    #[test]
    fn only_the_source() {
        assert_eq!(check((CLIENT, BACKEND), (CLIENT, BACKEND), (BACKEND, NODE)), Some((None, false)));
    }

    #[test]
    fn nothing_translated_or_another_flow() {
        assert_eq!(check((CLIENT, BACKEND), (CLIENT, BACKEND), (BACKEND, CLIENT)), None);
        assert_eq!(check(("10.9.9.9:1", CLIENT), (CLIENT, SERVICE), (BACKEND, CLIENT)), None);
        let entry = Conntrack { original: tuple(CLIENT, SERVICE), reply: tuple(BACKEND, CLIENT), status: 0 };
        assert_eq!(of_packet(&Tuple { protocol: 1, ..tuple(CLIENT, SERVICE) }, &entry), None);
    }

    #[test]
    fn sights_of_one_segment() {
        let check = |first: (&str, &str), last: (&str, &str), opener| {
            let pair = |(source, destination): (&str, &str)| (source.parse().unwrap(), destination.parse().unwrap());
            of_sights(pair(first), pair(last), opener)
        };
        let backend = Some(("10.0.0.2".parse().unwrap(), Some(8080)));
        let original = tuple(CLIENT, SERVICE);
        let forth = Some(Translation { original, backend, reply: false });
        let back = Some(Translation { original, backend, reply: true });
        assert_eq!(check((CLIENT, SERVICE), (CLIENT, BACKEND), Side::Source), forth);
        assert_eq!(check((CLIENT, SERVICE), (NODE, BACKEND), Side::Source), forth);
        assert_eq!(check((BACKEND, CLIENT), (SERVICE, CLIENT), Side::Destination), back);
        assert_eq!(check((BACKEND, NODE), (SERVICE, CLIENT), Side::Destination), back);
        assert_eq!(check((CLIENT, BACKEND), (CLIENT, BACKEND), Side::Source), None);
        // Only the client's address: masquerade, there and back.
        let masqueraded = Translation { original: tuple(CLIENT, BACKEND), backend: None, reply: false };
        assert_eq!(check((CLIENT, BACKEND), (NODE, BACKEND), Side::Source), Some(masqueraded));
        let returned = Translation { reply: true, ..masqueraded };
        assert_eq!(check((BACKEND, NODE), (BACKEND, CLIENT), Side::Destination), Some(returned));
    }

    #[test]
    fn a_fragment_without_ports() {
        let entry = Conntrack { original: tuple(CLIENT, SERVICE), reply: tuple(BACKEND, CLIENT), status: 0 };
        let fragment = Tuple { source_port: None, destination_port: None, ..tuple(CLIENT, BACKEND) };
        assert!(of_packet(&fragment, &entry).is_some());
    }
}
