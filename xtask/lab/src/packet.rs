//! IP packets byte by byte: UDP datagrams, TCP segments, fragments, for raw sockets. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Next header value of a fragment header (RFC 8200 section 4.5).
const FRAGMENT: u8 = 44;
const HOP_LIMIT: u8 = 64;
/// Flags of an IPv4 header (RFC 791 section 3.1), in units of the word that also holds the offset.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// What a segment says beside its ports (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Flags.
    pub flags: u8,
}

/// RST.
pub const RST: u8 = 0x04;

/// An IP packet with a UDP datagram; none if the families differ or it gets too long.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    packet(from.ip(), to.ip(), UDP, &datagram(from, to, payload)?)
}

/// An IP packet with a TCP segment without data; none if the families differ.
pub fn tcp(from: SocketAddr, to: SocketAddr, segment: Segment) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend_from_slice(&from.port().to_be_bytes());
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes.extend_from_slice(&segment.sequence.to_be_bytes());
    bytes.extend_from_slice(&segment.acknowledgment.to_be_bytes());
    // Five words of header; no window, checksum to come, no urgent data.
    bytes.extend_from_slice(&[5 << 4, segment.flags, 0, 0, 0, 0, 0, 0]);
    let sum = checksum(&[&pseudo(from.ip(), to.ip(), TCP, 20)?, &bytes]);
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    packet(from.ip(), to.ip(), TCP, &bytes)
}

/// A UDP datagram as IP fragments of `size` payload bytes each, in order; none if the families differ, it gets too long,
/// or `size` is no multiple of 8. `id` is what all fragments have in common; IPv4 uses the low half of it.
pub fn udp_fragments(from: SocketAddr, to: SocketAddr, payload: &[u8], id: u32, size: u16) -> Option<Vec<Vec<u8>>> {
    if size == 0 || !size.is_multiple_of(8) {
        return None;
    }
    let datagram = datagram(from, to, payload)?;
    let last = datagram.len().div_ceil(usize::from(size)) - 1;
    let parts = datagram.chunks(usize::from(size)).enumerate();
    parts
        .map(|(index, part)| {
            let offset = u16::try_from(index * usize::from(size)).ok()?;
            let length = u16::try_from(part.len()).ok()?;
            let more = index < last;
            match (from.ip(), to.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    let word = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
                    let mut packet = ipv4_header(from, to, UDP, length, (id & 0xffff) as u16, word)?;
                    packet.extend_from_slice(part);
                    Some(packet)
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    let mut packet = ipv6_header(from, to, FRAGMENT, length.checked_add(8)?);
                    packet.extend_from_slice(&[UDP, 0]);
                    packet.extend_from_slice(&(offset | u16::from(more)).to_be_bytes());
                    packet.extend_from_slice(&id.to_be_bytes());
                    packet.extend_from_slice(part);
                    Some(packet)
                }
                _ => None,
            }
        })
        .collect()
}

/// UDP header (RFC 768) and data.
fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len() + 8).ok()?;
    let mut datagram = Vec::with_capacity(usize::from(length));
    for field in [from.port(), to.port(), length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    // A computed checksum of 0 is sent as all ones.
    let checksum = match checksum(&[&pseudo(from.ip(), to.ip(), UDP, length)?, &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    Some(datagram)
}

fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len()).ok()?;
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_header(from, to, protocol, length, 0, DONT_FRAGMENT)?,
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6_header(from, to, protocol, length),
        _ => return None,
    };
    packet.extend_from_slice(payload);
    Some(packet)
}

/// RFC 791 section 3.1. The kernel fills in length, id and checksum of a raw packet where they are 0, but not all do.
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: u16, id: u16, fragment: u16) -> Option<Vec<u8>> {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&length.checked_add(20)?.to_be_bytes());
    header.extend_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&fragment.to_be_bytes());
    header.extend_from_slice(&[HOP_LIMIT, protocol, 0, 0]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(header)
}

/// RFC 8200 section 3.
fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr, next: u8, length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[next, HOP_LIMIT]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    header
}

/// What the checksums of UDP and TCP cover of the IP header (RFC 768, RFC 9293 section 3.1; RFC 8200 section 8.1, whose
/// wider length and zeros add the same to the sum).
fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: u16) -> Option<Vec<u8>> {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => return None,
    };
    Some([&addresses[..], &[0, protocol], &length.to_be_bytes()].concat())
}

/// The Internet checksum (RFC 1071) over parts, all but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const ENDS: [(&str, &str); 2] = [("10.0.0.1:1", "10.0.0.2:53"), ("[fd00::1]:1", "[fd00::2]:53")];

    fn ends() -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        ENDS.iter().map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn checksums_verify_to_zero() {
        for (from, to) in ends() {
            for (packet, protocol) in [
                (udp(from, to, b"odd").unwrap(), UDP),
                (tcp(from, to, Segment { flags: RST, ..Segment::default() }).unwrap(), TCP),
            ] {
                let header = if from.is_ipv4() { 20 } else { 40 };
                if from.is_ipv4() {
                    assert_eq!(checksum(&[&packet[..20]]), 0);
                }
                let length = u16::try_from(packet.len() - header).unwrap();
                let pseudo = pseudo(from.ip(), to.ip(), protocol, length).unwrap();
                assert_eq!(checksum(&[&pseudo, &packet[header..]]), 0);
            }
        }
    }

    #[test]
    fn fragments_add_up_to_the_datagram() {
        for (from, to) in ends() {
            let payload: Vec<u8> = (0..2_000_u32).map(|byte| byte as u8).collect();
            let parts = udp_fragments(from, to, &payload, 0x1234, 800).unwrap();
            let header = if from.is_ipv4() { 20 } else { 48 };
            let lengths: Vec<_> = parts.iter().map(|part| part.len() - header).collect();
            assert_eq!(lengths, [800, 800, 408]);
            let whole: Vec<u8> = parts.iter().flat_map(|part| &part[header..]).copied().collect();
            assert_eq!(whole, datagram(from, to, &payload).unwrap());
            let word = |part: &[u8]| {
                let at = if from.is_ipv4() { 6 } else { 42 };
                u16::from_be_bytes([part[at], part[at + 1]])
            };
            let words: Vec<_> = parts.iter().map(|part| word(part)).collect();
            assert_eq!(words, if from.is_ipv4() { [0x2000, 0x2000 + 100, 200] } else { [1, 800 + 1, 1600] });
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let [(v4, _), (v6, _)] = [ends().next().unwrap(), ends().nth(1).unwrap()];
        assert!(udp(v4, v6, b"").is_none());
        assert!(tcp(v6, v4, Segment::default()).is_none());
        assert!(udp(v4, v4, &vec![0; 65_508]).is_none());
        assert!(udp_fragments(v4, v4, b"", 1, 12).is_none());
    }
}
