//! Addresses, ports and TCP flags from the start of a packet, which may be cut anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::raw::{Fragment, Size, Tuple};

/// IP protocol numbers (IANA, "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;

    /// Whether its header begins with a source and a destination port.
    pub fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | DCCP | SCTP | UDPLITE)
    }
}

/// What a packet's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// The flags byte of a TCP header.
    pub tcp_flags: Option<u8>,
    /// How big the packet is; `None` where the headers do not say.
    pub size: Option<Size>,
    /// Set for a part of a packet.
    pub fragment: Option<Fragment>,
    /// TTL or hop limit.
    pub hop_limit: u8,
}

/// Parses from the network header on. `None` when not even the addresses are there or it is no IP packet. Ports are
/// absent in a fragment other than the first, which does not carry them.
pub fn parse(bytes: &[u8]) -> Option<Parsed> {
    let Network { source, destination, protocol, rest: transport, packet, fragment, hop_limit } =
        match bytes.first()? >> 4 {
            4 => ipv4(bytes)?,
            6 => ipv6(bytes)?,
            _ => return None,
        };
    let ports = if protocol::has_ports(protocol) { transport.first_chunk::<4>() } else { None };
    let tcp_flags = if protocol == protocol::TCP { transport.get(13).copied() } else { None };
    let tuple = Tuple {
        protocol,
        source,
        destination,
        source_port: ports.map(|p| u16::from_be_bytes([p[0], p[1]])),
        destination_port: ports.map(|p| u16::from_be_bytes([p[2], p[3]])),
    };
    let network = (bytes.len() - transport.len()) as u32;
    let size = packet.map(|packet| Size { packet, headers: network + transport_header(protocol, transport) });
    Some(Parsed { tuple, tcp_flags, size, fragment, hop_limit })
}

/// Bytes of a transport header, as far as it says: TCP's data offset (RFC 9293 section 3.1), UDP's fixed 8.
fn transport_header(protocol: u8, transport: &[u8]) -> u32 {
    match protocol {
        protocol::TCP => transport.get(12).map_or(0, |offset| u32::from(offset >> 4) * 4),
        protocol::UDP => 8,
        _ => 0,
    }
}

/// What a network header says.
struct Network<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// What follows it; empty in a fragment other than the first.
    rest: &'a [u8],
    /// Bytes of the whole packet; `None`: more than the field can say (BIG TCP, jumbograms).
    packet: Option<u32>,
    fragment: Option<Fragment>,
    hop_limit: u8,
}

/// RFC 791 section 3.1.
fn ipv4(bytes: &[u8]) -> Option<Network<'_>> {
    let header = bytes.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    if length < 20 {
        return None;
    }
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let (more, offset) = (flags & 0x2000 != 0, flags & 0x1fff);
    let after = bytes.get(length..).unwrap_or_default();
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let identification = u16::from_be_bytes([header[4], header[5]]).into();
    Some(Network {
        source: address(12),
        destination: address(16),
        protocol: header[9],
        // Not in place of what is not there: an empty slice at its end keeps the header's length computable.
        rest: if offset == 0 { after } else { &after[after.len()..] },
        packet: Some(total).filter(|total| *total > 0),
        fragment: (more || offset != 0).then_some(Fragment { identification, offset: offset * 8, more }),
        hop_limit: header[8],
    })
}

/// RFC 8200 section 3. Where the capture ends within the extension headers, the protocol is that of the first one that
/// is not there.
fn ipv6(bytes: &[u8]) -> Option<Network<'_>> {
    let (header, mut rest) = bytes.split_first_chunk::<40>()?;
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let mut next = header[6];
    let mut fragment = None;
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    // Each round consumes at least eight bytes, so this ends.
    while let Some(length) = extension_length(next, rest) {
        if next == 44 {
            let word = u16::from_be_bytes([rest[2], rest[3]]);
            let identification = rest.get(4..8).map_or(0, |id| u32::from_be_bytes([id[0], id[1], id[2], id[3]]));
            // RFC 6946: an atomic fragment, first and last, is whole.
            if word & 0xfff9 != 0 {
                fragment = Some(Fragment { identification, offset: word & 0xfff8, more: word & 1 != 0 });
            }
            if word & 0xfff8 != 0 {
                // A fragment other than the first: its protocol is known, what follows is the middle of a packet.
                next = rest[0];
                rest = &rest[rest.len()..];
                break;
            }
        }
        next = rest[0];
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(Network {
        source: address(8),
        destination: address(24),
        protocol: next,
        rest,
        packet: Some(payload).filter(|payload| *payload > 0).map(|payload| payload + 40),
        fragment,
        hop_limit: header[7],
    })
}

/// Bytes of an extension header of which the first four bytes are there; `None` for anything else. RFC 8200 section 4,
/// RFC 4302 section 2.2 (whose length counts in words), RFC 6275, RFC 7401, RFC 5533.
fn extension_length(number: u8, bytes: &[u8]) -> Option<usize> {
    let start = bytes.first_chunk::<4>()?;
    match number {
        44 => Some(8),
        51 => Some((usize::from(start[1]) + 2).max(2) * 4),
        0 | 43 | 60 | 135 | 139 | 140 => Some((usize::from(start[1]) + 1) * 8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use etherparse::{IpFragOffset, IpNumber, Ipv6FragmentHeader, PacketBuilder};
    use proptest::prelude::*;

    use super::*;

    fn tcp4() -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(4711, 80, 1, 1024)
            .syn()
            .ece()
            .write(&mut bytes, &[])
            .unwrap();
        // Four bytes of options.
        bytes[0] = 0x46;
        bytes.splice(20..20, [1, 1, 1, 0]);
        bytes
    }

    fn udp6() -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(53, 4711).write(&mut bytes, b"x").unwrap();
        bytes
    }

    /// Puts an extension header between the IPv6 header and what follows.
    fn extended(packet: &[u8], number: u8, extension: &[u8]) -> Vec<u8> {
        let mut bytes = [&packet[..40], extension, &packet[40..]].concat();
        bytes[40] = bytes[6];
        bytes[6] = number;
        bytes
    }

    #[test]
    fn ipv4_with_options() {
        let parsed = parse(&tcp4()).unwrap();
        assert_eq!(parsed.tuple.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(parsed.tuple.destination, IpAddr::from([10, 0, 0, 2]));
        assert_eq!((parsed.tuple.source_port, parsed.tuple.destination_port), (Some(4711), Some(80)));
        assert_eq!(parsed.tcp_flags, Some(0x42));
    }

    #[test]
    fn a_later_ipv4_fragment_has_no_ports() {
        let mut bytes = tcp4();
        bytes[7] = 1;
        let parsed = parse(&bytes).unwrap();
        assert_eq!((parsed.tuple.protocol, parsed.tuple.source_port, parsed.tcp_flags), (6, None, None));
    }

    #[test]
    fn cut_captures_say_what_they_have() {
        let bytes = tcp4();
        assert_eq!(parse(&bytes[..19]), None);
        assert_eq!(parse(&bytes[..24]).unwrap().tuple.source_port, None);
        assert_eq!(parse(&bytes[..28]).unwrap().tuple.destination_port, Some(80));
        assert_eq!(parse(&bytes[..37]).unwrap().tcp_flags, None);
        assert_eq!(parse(&bytes[..38]).unwrap().tcp_flags, Some(0x42));
    }

    #[test]
    fn ipv6_extension_headers() {
        let plain = udp6();
        let ports = |bytes: &[u8]| parse(bytes).map(|p| (p.tuple.protocol, p.tuple.source_port));
        assert_eq!(ports(&plain), Some((17, Some(53))));
        assert_eq!(ports(&extended(&plain, 0, &[0; 8])), Some((17, Some(53))));
        assert_eq!(ports(&extended(&plain, 60, &[[0, 1].as_slice(), &[0; 14]].concat())), Some((17, Some(53))));
        assert_eq!(ports(&extended(&plain, 51, &[[0, 1].as_slice(), &[0; 10]].concat())), Some((17, Some(53))));
        let fragment = |offset: u16| {
            Ipv6FragmentHeader::new(IpNumber::UDP, IpFragOffset::try_new(offset).unwrap(), true, 7).to_bytes()
        };
        assert_eq!(ports(&extended(&plain, 44, &fragment(0))), Some((17, Some(53))));
        assert_eq!(ports(&extended(&plain, 44, &fragment(1))), Some((17, None)));
        // Cut within the extension header's successor.
        assert_eq!(ports(&extended(&plain, 0, &[0; 8])[..48]), Some((17, None)));
    }

    #[test]
    fn what_is_no_ip_packet() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x52; 60]), None);
        assert_eq!(parse(&[0x44; 60]), None, "a header length below 20");
    }

    #[test]
    fn icmp_has_no_ports() {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).icmpv4_echo_request(1, 2).write(&mut bytes, &[]).unwrap();
        let tuple = parse(&bytes).unwrap().tuple;
        assert_eq!((tuple.protocol, tuple.source_port, tuple.destination_port), (protocol::ICMP, None, None));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), version in 4u8..=6) {
            let _ = parse(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            let _ = parse(&bytes);
        }
    }
}
