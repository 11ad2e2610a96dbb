//! A record of the kernel programs, from bytes to types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netobs_common::ABI_VERSION;
use netobs_common::record::{self, DnsRecord, DropRecord, Header, direction, flags, kind};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::dns::{self, DnsError};
use super::headers::{self, protocol};
use super::raw::{Conntrack, Context, RawDns, RawDrop, RawEvent, Tuple};

/// Why bytes from a ring are no record. All but [`DecodeError::Dns`] mean that the two sides disagree: a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer bytes than the structure has.
    #[error("a record of {found} bytes, {needed} are needed")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        needed: usize,
    },
    /// Written by another version of the kernel programs.
    #[error("record of ABI version {0}, this daemon reads {ABI_VERSION}")]
    Abi(u16),
    /// A number that is none of [`kind`].
    #[error("unknown kind of record {0}")]
    Kind(u8),
    /// The header's length is not that of the bytes.
    #[error("the record says it has {said} bytes, there are {found}")]
    Length {
        /// `Header::length`.
        said: u32,
        /// Bytes there are.
        found: usize,
    },
    /// A field holds a value that it cannot have.
    #[error("field {field} cannot be {value}")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// The payload of a packet to or from a DNS port is no DNS message that can be told about.
    #[error("DNS message: {0}")]
    Dns(#[from] DnsError),
}

/// Decodes one record. The bytes need no alignment.
pub fn decode(bytes: &[u8]) -> Result<RawEvent, DecodeError> {
    let mut copy = None;
    let header: &Header = view(bytes, &mut copy)?;
    if header.abi != ABI_VERSION {
        return Err(DecodeError::Abi(header.abi));
    }
    // A ring rounds up to eight bytes, so there may be more than the record.
    let record = usize::try_from(header.length).ok().and_then(|length| bytes.get(..length));
    let record = record.ok_or(DecodeError::Length { said: header.length, found: bytes.len() })?;
    match header.kind {
        kind::DROP => decode_drop(record).map(|drop| RawEvent::Drop(Box::new(drop))),
        kind::DNS => decode_dns(record).map(|dns| RawEvent::Dns(Box::new(dns))),
        other => Err(DecodeError::Kind(other)),
    }
}

/// A structure at the start of the bytes: in place where they are aligned, as ring records are, else copied.
fn view<'a, T>(bytes: &'a [u8], copy: &'a mut Option<T>) -> Result<&'a T, DecodeError>
where
    T: FromBytes + KnownLayout + Immutable,
{
    if let Ok((record, _)) = T::ref_from_prefix(bytes) {
        return Ok(record);
    }
    let too_short = DecodeError::TooShort { found: bytes.len(), needed: size_of::<T>() };
    let (record, _) = T::read_from_prefix(bytes).map_err(|_| too_short)?;
    Ok(copy.insert(record))
}

/// The fields of the header; 0 there means unknown.
fn context(header: &Header) -> Context {
    Context {
        boot_ns: header.boot_ns,
        packet: header.packet,
        digest: known(header.digest),
        cgroup: known(header.cgroup),
        netns: known(header.netns),
        ifindex: known(header.ifindex),
        cpu: header.cpu,
    }
}

fn known<N: Default + PartialEq>(value: N) -> Option<N> {
    (value != N::default()).then_some(value)
}

/// The used part of an array, or the name of the field that says more than there is.
fn used<'a, T>(all: &'a [T], length: u8, field: &'static str) -> Result<&'a [T], DecodeError> {
    all.get(..usize::from(length)).ok_or(DecodeError::Field { field, value: length.into() })
}

fn decode_drop(bytes: &[u8]) -> Result<RawDrop, DecodeError> {
    let mut copy = None;
    let record: &DropRecord = view(bytes, &mut copy)?;
    let parsed = headers::parse(used(&record.headers, record.headers_length, "headers_length")?);
    let points = used(&record.points, record.points_length, "points_length")?;
    Ok(RawDrop {
        context: context(&record.header),
        location: record.location,
        reason: record.reason,
        length: record.length,
        mtu: known(record.mtu),
        gso_size: known(record.gso_size).filter(|size| *size != u16::MAX),
        ethertype: record.ethertype,
        socket_family: known(record.socket_family),
        device: device(&record.device),
        tuple: parsed.map(|p| p.tuple),
        tcp_flags: parsed.and_then(|p| p.tcp_flags),
        conntrack: conntrack(record),
        points: points.to_vec(),
    })
}

/// The kernel allows any bytes but `/`, `:` and white space in an interface's name.
fn device(name: &[u8; 16]) -> Option<String> {
    let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// `None` also when an address family or an inconsistent protocol shows that the entry was reused while it was read.
fn conntrack(record: &DropRecord) -> Option<Conntrack> {
    if record.header.flags & flags::CONNTRACK == 0 {
        return None;
    }
    let [original, reply] = &record.tuples;
    if original.protocol != reply.protocol || original.family != reply.family {
        return None;
    }
    Some(Conntrack { original: tuple(original)?, reply: tuple(reply)?, status: record.conntrack_status })
}

fn tuple(tuple: &record::Tuple) -> Option<Tuple> {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6` of the kernel's `linux/netfilter.h`.
    const FAMILIES: [(u8, u8); 2] = [(2, 4), (10, 6)];
    let (_, version) = FAMILIES.into_iter().find(|(family, _)| *family == tuple.family)?;
    // Where there are no ports the kernel keeps other things in their place.
    let port = |bytes| protocol::has_ports(tuple.protocol).then_some(u16::from_be_bytes(bytes));
    Some(Tuple {
        protocol: tuple.protocol,
        source: address(tuple.source, version)?,
        destination: address(tuple.destination, version)?,
        source_port: port(tuple.source_port),
        destination_port: port(tuple.destination_port),
    })
}

/// An address as the kernel side writes them: 16 bytes, IPv4 in the first four. `None` for a version that is neither.
pub(crate) fn address(bytes: [u8; 16], version: u8) -> Option<IpAddr> {
    match version {
        4 => Some(IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))),
        6 => Some(IpAddr::V6(Ipv6Addr::from(bytes))),
        _ => None,
    }
}

fn decode_dns(bytes: &[u8]) -> Result<RawDns, DecodeError> {
    let mut copy = None;
    let record: &DnsRecord = view(bytes, &mut copy)?;
    let captured = usize::from(record.captured);
    let payload = bytes.get(size_of::<DnsRecord>()..).and_then(|rest| rest.get(..captured));
    let payload = payload
        .filter(|_| record.captured <= record.message_length)
        .ok_or(DecodeError::Field { field: "captured", value: record.captured.into() })?;
    let end = |ip, port| {
        let ip = address(ip, record.ip_version)
            .ok_or(DecodeError::Field { field: "ip_version", value: record.ip_version.into() })?;
        Ok::<_, DecodeError>(SocketAddr::new(ip, u16::from_be_bytes(port)))
    };
    Ok(RawDns {
        context: context(&record.header),
        source: end(record.source, record.source_port)?,
        destination: end(record.destination, record.destination_port)?,
        egress: match record.direction {
            direction::INGRESS => false,
            direction::EGRESS => true,
            other => return Err(DecodeError::Field { field: "direction", value: other.into() }),
        },
        message: dns::parse(payload)?,
        message_length: record.message_length,
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
