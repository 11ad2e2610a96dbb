//! Tests of `decode`: good records, and every way to spoil them.
#![allow(clippy::unwrap_used)]

use netobs_common::record::{DNS_CLASSES, DROP_HEADERS, DROP_POINTS};
use netobs_common::trail::{Point, hook};
use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;

fn header(kind: u8, length: usize) -> Header {
    Header {
        abi: ABI_VERSION,
        kind,
        flags: 0,
        length: u32::try_from(length).unwrap(),
        boot_ns: 1_000,
        packet: 0xffff_8880_0000_0100,
        cgroup: 77,
        netns: 4_026_531_840,
        ifindex: 3,
        digest: 5,
        cpu: 1,
    }
}

fn sixteen(bytes: [u8; 4]) -> [u8; 16] {
    let mut all = [0; 16];
    all[..4].copy_from_slice(&bytes);
    all
}

/// A SYN from 10.0.0.1:4711 to 10.0.0.9:80, which DNAT sends on to 10.0.0.2:8080.
pub fn drop_record() -> DropRecord {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(4711, 8080, 1, 1024)
        .syn()
        .write(&mut packet, &[])
        .unwrap();
    let mut headers = [0; DROP_HEADERS];
    headers[..packet.len()].copy_from_slice(&packet);
    let mut device = [0; 16];
    device[..4].copy_from_slice(b"cni0");
    let mut points = [Point::default(); DROP_POINTS];
    points[0] = Point { ifindex: 3, out_ifindex: 4, hook: hook::NETFILTER + 2 };
    let tuple = |source, destination, source_port: u16, destination_port: u16| record::Tuple {
        source: sixteen(source),
        destination: sixteen(destination),
        source_port: source_port.to_be_bytes(),
        destination_port: destination_port.to_be_bytes(),
        family: 2,
        protocol: 6,
        padding: 0,
    };
    DropRecord {
        header: Header { flags: flags::CONNTRACK, ..header(kind::DROP, size_of::<DropRecord>()) },
        location: 0xffff_ffff_8100_0000,
        reason: 8,
        length: 40,
        mtu: 1500,
        out_ifindex: 0,
        out_mtu: 0,
        peer_mtu: 0,
        reserved: 0,
        conntrack_status: 0x20,
        gso_size: 0,
        ethertype: 0x0800,
        socket_family: 0,
        headers_length: u8::try_from(packet.len()).unwrap(),
        points_length: 1,
        padding: 0,
        tuples: [tuple([10, 0, 0, 1], [10, 0, 0, 9], 4711, 80), tuple([10, 0, 0, 2], [10, 0, 0, 1], 8080, 4711)],
        points,
        device,
        headers,
    }
}

/// A question for web.shop. from 10.0.0.1:40000 to 10.96.0.10:53.
pub fn dns_bytes() -> Vec<u8> {
    let message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04shop\x00\x00\x01\x00\x01";
    let record = DnsRecord {
        header: header(kind::DNS, DNS_CLASSES[0]),
        source: sixteen([10, 0, 0, 1]),
        destination: sixteen([10, 96, 0, 10]),
        source_port: 40_000u16.to_be_bytes(),
        destination_port: 53u16.to_be_bytes(),
        message_length: u16::try_from(message.len()).unwrap(),
        captured: u16::try_from(message.len()).unwrap(),
        ip_version: 4,
        direction: direction::INGRESS,
        padding: 0,
        reserved: 0,
    };
    let mut bytes = [record.as_bytes(), message].concat();
    bytes.resize(DNS_CLASSES[0], 0);
    bytes
}

fn decoded_drop(record: &DropRecord) -> RawDrop {
    match decode(record.as_bytes()).unwrap() {
        RawEvent::Drop(drop) => *drop,
        _ => panic!("a DNS event"),
    }
}

fn changed_drop(change: impl FnOnce(&mut DropRecord)) -> DropRecord {
    let mut record = drop_record();
    change(&mut record);
    record
}

#[test]
fn a_drop() {
    let drop = decoded_drop(&drop_record());
    assert_eq!((drop.context.cgroup, drop.context.netns), (Some(77), Some(4_026_531_840)));
    assert_eq!((drop.device.as_deref(), drop.mtu, drop.gso_size), (Some("cni0"), Some(1500), None));
    assert_eq!(drop.tcp_flags, Some(2));
    assert_eq!(drop.points.len(), 1);
    let conntrack = drop.conntrack.unwrap();
    assert_eq!(conntrack.original.destination, IpAddr::from([10, 0, 0, 9]));
    assert_eq!((conntrack.reply.source_port, conntrack.reply.destination_port), (Some(8080), Some(4711)));
    assert_eq!(drop.tuple.unwrap().destination_port, Some(8080));
}

#[test]
fn zero_is_unknown() {
    let drop = decoded_drop(&changed_drop(|r| {
        r.header = Header { cgroup: 0, netns: 0, ifindex: 0, digest: 0, flags: 0, ..r.header };
        (r.mtu, r.gso_size, r.device, r.headers_length) = (0, u16::MAX, [0; 16], 0);
    }));
    let context = drop.context;
    assert_eq!((context.cgroup, context.netns, context.ifindex, context.digest), (None, None, None, None));
    assert_eq!((drop.mtu, drop.gso_size, drop.device, drop.tuple, drop.conntrack), (None, None, None, None, None));
}

#[test]
fn conntrack_that_makes_no_sense_is_unknown() {
    assert_eq!(decoded_drop(&changed_drop(|r| r.tuples[0].family = 7)).conntrack, None);
    assert_eq!(decoded_drop(&changed_drop(|r| r.tuples[1].protocol = 17)).conntrack, None);
    let icmp = decoded_drop(&changed_drop(|r| r.tuples.iter_mut().for_each(|t| t.protocol = 1)));
    assert_eq!(icmp.conntrack.unwrap().original.source_port, None, "an ICMP identifier is no port");
}

#[test]
fn a_dns_message() {
    let RawEvent::Dns(dns) = decode(&dns_bytes()).unwrap() else { panic!("a drop") };
    assert_eq!((dns.source, dns.destination), ("10.0.0.1:40000".parse().unwrap(), "10.96.0.10:53".parse().unwrap()));
    assert!(!dns.egress);
    assert_eq!(dns.message.question.unwrap().name, "web.shop.");
}

#[test]
fn alignment_does_not_matter() {
    for bytes in [drop_record().as_bytes().to_vec(), dns_bytes()] {
        let mut shifted = vec![0; 7];
        for shift in 1..8 {
            shifted.truncate(7);
            shifted.resize(8 + shift, 0);
            shifted.extend_from_slice(&bytes);
            assert_eq!(decode(&shifted[8 + shift..]), decode(&bytes));
        }
    }
}

#[test]
fn each_defect_has_its_error() {
    let drop = drop_record();
    let dns = dns_bytes();
    let dns_with = |at: usize, value: u8| {
        let mut bytes = dns.clone();
        bytes[at] = value;
        decode(&bytes)
    };
    let field = |field, value| Err(DecodeError::Field { field, value });
    assert_eq!(decode(&[0; 47]), Err(DecodeError::TooShort { found: 47, needed: 48 }));
    assert_eq!(decode(changed_drop(|r| r.header.abi = 9).as_bytes()), Err(DecodeError::Abi(9)));
    assert_eq!(decode(changed_drop(|r| r.header.kind = 9).as_bytes()), Err(DecodeError::Kind(9)));
    assert_eq!(decode(&drop.as_bytes()[..320]), Err(DecodeError::Length { said: 344, found: 320 }));
    assert_eq!(
        decode(changed_drop(|r| r.header.length = 320).as_bytes()),
        Err(DecodeError::TooShort { found: 320, needed: 344 })
    );
    assert_eq!(decode(changed_drop(|r| r.headers_length = 81).as_bytes()), field("headers_length", 81));
    assert_eq!(decode(changed_drop(|r| r.points_length = 7).as_bytes()), field("points_length", 7));
    assert_eq!(dns_with(86, 200), field("captured", 200));
    assert_eq!(dns_with(84, 1), field("captured", 26));
    assert_eq!(dns_with(88, 5), field("ip_version", 5));
    assert_eq!(dns_with(89, 0), field("direction", 0));
    assert_eq!(dns_with(86, 20), Err(DecodeError::Dns(DnsError::Cut)));
    assert_eq!(dns_with(96 + 12, 0xc0), Err(DecodeError::Dns(DnsError::Pointer)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn spoiled_records_never_panic(
        dns in any::<bool>(),
        length in 0usize..400,
        changes in prop::collection::vec((0usize..400, any::<u8>()), 0..6),
    ) {
        let mut bytes = if dns { dns_bytes() } else { drop_record().as_bytes().to_vec() };
        bytes.truncate(length);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let _ = decode(&bytes);
    }
}
