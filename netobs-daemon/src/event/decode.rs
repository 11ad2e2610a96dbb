//! A record of the kernel programs, from bytes to types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netobs_common::ABI_VERSION;
use netobs_common::record::{
    self, DnsRecord, DropRecord, Header, IcmpRecord, ResetRecord, SocketRecord, direction, flags, kind,
};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::dns::{self, DnsError};
use super::headers::{self, protocol};
use super::raw::{
    Conntrack, Context, Quoted, RawDns, RawDrop, RawEvent, RawIcmp, RawReset, RawSocket, Side, SizeError, SocketSide,
    Tuple,
};

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
        kind::MTU => decode_icmp(record).map(|icmp| RawEvent::Icmp(Box::new(icmp))),
        kind::RESET => decode_reset(record).map(|reset| RawEvent::Reset(Box::new(reset))),
        kind::SOCKET => decode_socket(record).map(|said| RawEvent::Socket(Box::new(said))),
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
        out_ifindex: known(record.out_ifindex),
        out_mtu: known(record.out_mtu),
        peer_mtu: known(record.peer_mtu),
        size: parsed.and_then(|p| p.size),
        fragment: parsed.and_then(|p| p.fragment),
        hop_limit: parsed.map(|p| p.hop_limit),
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

/// Address and port of an end, as the kernel side writes them.
fn end(ip: [u8; 16], port: [u8; 2], version: u8) -> Result<SocketAddr, DecodeError> {
    let ip = address(ip, version).ok_or(DecodeError::Field { field: "ip_version", value: version.into() })?;
    Ok(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Whether the interface was about to send the packet.
fn is_egress(code: u8) -> Result<bool, DecodeError> {
    match code {
        direction::INGRESS => Ok(false),
        direction::EGRESS => Ok(true),
        other => Err(DecodeError::Field { field: "direction", value: other.into() }),
    }
}

/// One of [`record::opener`].
fn opener(code: u8) -> Result<Option<Side>, DecodeError> {
    match code {
        record::opener::UNKNOWN => Ok(None),
        record::opener::SOURCE => Ok(Some(Side::Source)),
        record::opener::DESTINATION => Ok(Some(Side::Destination)),
        other => Err(DecodeError::Field { field: "opener", value: other.into() }),
    }
}

/// What an ICMP error's type and code (RFC 792, RFC 4443) say of a packet's size.
pub(crate) const fn size_error(version: u8, icmp_type: u8, code: u8) -> Option<SizeError> {
    match (version, icmp_type, code) {
        (4, 3, 4) => Some(SizeError::FragmentationNeeded),
        (6, 2, _) => Some(SizeError::PacketTooBig),
        (4, 11, 1) | (6, 3, 1) => Some(SizeError::ReassemblyTimeExceeded),
        _ => None,
    }
}

fn decode_icmp(bytes: &[u8]) -> Result<RawIcmp, DecodeError> {
    let mut copy = None;
    let record: &IcmpRecord = view(bytes, &mut copy)?;
    let quoted = headers::parse(used(&record.quoted, record.quoted_length, "quoted_length")?);
    let error = size_error(record.ip_version, record.icmp_type, record.icmp_code)
        .ok_or(DecodeError::Field { field: "icmp_type", value: record.icmp_type.into() })?;
    Ok(RawIcmp {
        context: context(&record.header),
        source: end(record.source, [0; 2], record.ip_version)?.ip(),
        destination: end(record.destination, [0; 2], record.ip_version)?.ip(),
        egress: is_egress(record.direction)?,
        translated: record.header.flags & flags::TRANSLATED != 0,
        arrival: known(record.arrival_ifindex),
        error,
        next_hop_mtu: known(record.next_hop_mtu),
        quoted: quoted.map(|p| Quoted { tuple: p.tuple, size: p.size, fragment: p.fragment }),
    })
}

fn decode_reset(bytes: &[u8]) -> Result<RawReset, DecodeError> {
    let mut copy = None;
    let record: &ResetRecord = view(bytes, &mut copy)?;
    Ok(RawReset {
        context: context(&record.header),
        source: end(record.source, record.source_port, record.ip_version)?,
        destination: end(record.destination, record.destination_port, record.ip_version)?,
        egress: is_egress(record.direction)?,
        translated: record.header.flags & flags::TRANSLATED != 0,
        arrival: known(record.arrival_ifindex),
        sequence: record.sequence,
        acknowledgment: record.acknowledgment,
        tcp_flags: record.tcp_flags,
        hop_limit: record.hop_limit,
        opener: opener(record.opener)?,
        opened_ns: known(record.opened_ns),
    })
}

/// `TCP_CLOSE` (`include/net/tcp_states.h`).
const CLOSE: u8 = 7;

fn decode_socket(bytes: &[u8]) -> Result<RawSocket, DecodeError> {
    let mut copy = None;
    let record: &SocketRecord = view(bytes, &mut copy)?;
    Ok(RawSocket {
        context: context(&record.header),
        source: end(record.source, record.source_port, record.ip_version)?,
        destination: end(record.destination, record.destination_port, record.ip_version)?,
        side: match record.side {
            record::side::SENT => SocketSide::Sent,
            record::side::ANSWERED => SocketSide::Answered,
            record::side::RECEIVED => SocketSide::Received,
            other => return Err(DecodeError::Field { field: "side", value: other.into() }),
        },
        reason: Some(record.reason).filter(|reason| *reason != u32::MAX),
        // Closed already: what it was before is not known.
        state: known(record.state).filter(|state| record.side != record::side::SENT || *state != CLOSE),
        trigger_flags: known(record.trigger_flags),
        trigger_sequence: record.trigger_sequence,
        alone: record.alone != 0,
        opener: opener(record.opener)?,
        opened_ns: known(record.opened_ns),
    })
}

fn decode_dns(bytes: &[u8]) -> Result<RawDns, DecodeError> {
    let mut copy = None;
    let record: &DnsRecord = view(bytes, &mut copy)?;
    let captured = usize::from(record.captured);
    let payload = bytes.get(size_of::<DnsRecord>()..).and_then(|rest| rest.get(..captured));
    let payload = payload
        .filter(|_| record.captured <= record.message_length)
        .ok_or(DecodeError::Field { field: "captured", value: record.captured.into() })?;
    Ok(RawDns {
        context: context(&record.header),
        source: end(record.source, record.source_port, record.ip_version)?,
        destination: end(record.destination, record.destination_port, record.ip_version)?,
        egress: is_egress(record.direction)?,
        message: dns::parse(payload)?,
        message_length: record.message_length,
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
pub(crate) mod tests;
