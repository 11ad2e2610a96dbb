//! Packets with a source address that is not the sender's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::{AddressFamily, SendFlags, SocketType};

use crate::place::Place;

const UDP: u8 = 17;
const HOP_LIMIT: u8 = 64;

impl Place {
    /// Sends one UDP datagram with this source address and port, which need not be the place's own. Both addresses
    /// must be of one family. It goes where the routes lead, from a raw socket.
    pub fn send_spoofed_udp(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let packet = udp_packet(from, to, payload)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "two families, or too long"))?;
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        // IPPROTO_RAW: the packet brings its own IP header, for both families (raw(7), net/ipv6/raw.c).
        let socket = self.socket(family, SocketType::RAW, Some(rustix::net::ipproto::RAW))?;
        // The port of a raw address is no port: IPv6 wants it to be 0.
        rustix::net::sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(to.ip(), 0))?;
        Ok(())
    }
}

/// An IP packet with a UDP datagram; none if the families differ or it gets too long.
fn udp_packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len() + 8).ok()?;
    let mut datagram = Vec::with_capacity(usize::from(length));
    for field in [from.port(), to.port(), length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let (mut packet, pseudo) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (ipv4_header(from, to, length)?, pseudo(&from.octets(), &to.octets(), length))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            (ipv6_header(from, to, length), pseudo(&from.octets(), &to.octets(), length))
        }
        _ => return None,
    };
    // RFC 768: a computed checksum of 0 is sent as all ones.
    let checksum = match checksum(&[&pseudo, &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&datagram);
    Some(packet)
}

/// RFC 791 section 3.1. The kernel fills in length, id and checksum of a raw packet where they are 0, but not all do.
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, length: u16) -> Option<Vec<u8>> {
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&length.checked_add(20)?.to_be_bytes());
    header.extend_from_slice(&[0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(header)
}

/// RFC 8200 section 3.
fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr, length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[UDP, HOP_LIMIT]);
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    header
}

/// What UDP's checksum covers of the IP header (RFC 768; RFC 8200 section 8.1, whose wider length and zeros add the
/// same to the sum).
fn pseudo(from: &[u8], to: &[u8], length: u16) -> Vec<u8> {
    [from, to, &[0, UDP], &length.to_be_bytes()].concat()
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

    #[test]
    fn checksums_verify_to_zero() {
        for (from, to) in [("10.0.0.1:1", "10.0.0.2:53"), ("[fd00::1]:1", "[fd00::2]:53")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let packet = udp_packet(from, to, b"odd").unwrap();
            let header = if from.is_ipv4() { 20 } else { 40 };
            if from.is_ipv4() {
                assert_eq!(checksum(&[&packet[..20]]), 0);
            }
            let addresses = if from.is_ipv4() { &packet[12..20] } else { &packet[8..40] };
            let (source, destination) = addresses.split_at(addresses.len() / 2);
            assert_eq!(checksum(&[&pseudo(source, destination, 11), &packet[header..]]), 0);
        }
    }

    #[test]
    fn mixed_families_are_refused() {
        assert!(udp_packet("10.0.0.1:1".parse().unwrap(), "[fd00::2]:53".parse().unwrap(), b"").is_none());
    }
}
