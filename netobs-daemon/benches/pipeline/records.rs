//! Records as the kernel programs write them.

use netobs_common::ABI_VERSION;
use netobs_common::record::{
    DNS_CLASSES, DROP_HEADERS, DROP_POINTS, DnsRecord, DropRecord, Header, Tuple, direction, flags, kind,
};
use netobs_common::trail::{Point, hook};
use std::net::IpAddr;
use zerocopy::IntoBytes as _;

use super::cluster::{OWN_NETNS, PODS, pod_ip, service_ip};

/// Time between two records, nanoseconds.
const STEP: u64 = 1_000;
/// In the text of any kernel on x86-64: some function has it.
const LOCATION: u64 = 0xffff_ffff_8140_0000;

/// Records of a round, to be made anew for the next.
pub struct Records {
    count: usize,
    make: fn(u64) -> Vec<Vec<u8>>,
}

impl Records {
    /// A UDP packet each from one of 50 local pods through a Service to one of 5,000, dropped in FORWARD.
    pub fn drops(count: usize) -> Self {
        Self { count, make: |number| vec![drop_record(number)] }
    }

    /// A question each of one of 50 local pods, and its answer.
    pub fn exchanges(count: usize) -> Self {
        Self { count, make: |number| vec![dns_record(number, false), dns_record(number, true)] }
    }

    /// Times and identities go on from round to round.
    pub fn of_round(&self, round: u64) -> Vec<Vec<u8>> {
        let first = round * self.count as u64;
        (first..first + self.count as u64).flat_map(|number| (self.make)(number)).collect()
    }
}

fn sixteen(address: IpAddr) -> [u8; 16] {
    let mut all = [0; 16];
    match address {
        IpAddr::V4(v4) => all[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => all = v6.octets(),
    }
    all
}

fn header(number: u64, kind: u8, flags: u8, length: usize) -> Header {
    let sender = (number % 50) as u32;
    Header {
        abi: ABI_VERSION,
        kind,
        flags,
        length: length as u32,
        boot_ns: 1_000_000_000 + number * STEP,
        packet: 0xffff_8880_0000_0000 + number * 256,
        cgroup: u64::from(OWN_NETNS + 1 + sender),
        netns: OWN_NETNS,
        ifindex: 10 + sender,
        digest: number as u32 | 1 << 31,
        cpu: 1,
    }
}

fn drop_record(number: u64) -> Vec<u8> {
    let (source, target) = (pod_ip((number % 50) as u32), pod_ip((number * 7) as u32 % PODS));
    let source_port = 32_768 + (number % 16_384) as u16;
    let mut headers = [0; DROP_HEADERS];
    headers[..12].copy_from_slice(&[0x45, 0, 0, 92, 0, 1, 0x40, 0, 63, 17, 0, 0]);
    headers[12..16].copy_from_slice(&sixteen(source)[..4]);
    headers[16..20].copy_from_slice(&sixteen(target)[..4]);
    headers[20..22].copy_from_slice(&source_port.to_be_bytes());
    headers[22..24].copy_from_slice(&8080u16.to_be_bytes());
    let mut device = [0; 16];
    device[..4].copy_from_slice(b"eth0");
    let tuple = |source, destination, ports: [u16; 2]| Tuple {
        source: sixteen(source),
        destination: sixteen(destination),
        source_port: ports[0].to_be_bytes(),
        destination_port: ports[1].to_be_bytes(),
        family: 2,
        protocol: 17,
        padding: 0,
    };
    let mut points = [Point::default(); DROP_POINTS];
    points[0] = Point { ifindex: 10 + (number % 50) as u32, out_ifindex: 0, hook: hook::TCX_INGRESS };
    points[1] = Point { ifindex: 11, out_ifindex: 0, hook: hook::NETFILTER };
    points[2] = Point { ifindex: 11, out_ifindex: 12, hook: hook::NETFILTER + 2 };
    let record = DropRecord {
        header: header(number, kind::DROP, flags::CONNTRACK, size_of::<DropRecord>()),
        location: LOCATION,
        reason: 8,
        length: 92,
        mtu: 1500,
        out_ifindex: 0,
        out_mtu: 0,
        peer_mtu: 0,
        reserved: 0,
        conntrack_status: 0x20,
        gso_size: 0,
        ethertype: 0x0800,
        socket_family: 0,
        headers_length: 28,
        points_length: 3,
        padding: 0,
        tuples: [
            tuple(source, service_ip((number % 500) as u32), [source_port, 53]),
            tuple(target, source, [8080, source_port]),
        ],
        points,
        device,
        headers,
    };
    record.as_bytes().to_vec()
}

fn dns_record(number: u64, response: bool) -> Vec<u8> {
    let (client, server) = (pod_ip((number % 50) as u32), pod_ip(4_000));
    let mut message = (number as u16).to_be_bytes().to_vec();
    message.extend(if response { [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] } else { [1, 0, 0, 1, 0, 0, 0, 0, 0, 0] });
    message.extend(b"\x09service-7\x07team-07\x03svc\x07cluster\x05local\0\0\x01\0\x01");
    // The client's port differs as a resolver's does, so ids may come round again.
    let client_port = 32_768 + (number / 65_536 % 16_384) as u16;
    let ((source, source_port), (destination, destination_port)) =
        if response { ((server, 53), (client, client_port)) } else { ((client, client_port), (server, 53)) };
    let mut header = header(number, kind::DNS, 0, DNS_CLASSES[1]);
    if response {
        // A packet of its own, a little later.
        (header.packet, header.digest, header.boot_ns) =
            (header.packet + 1, header.digest ^ 1 << 30, header.boot_ns + 1);
    }
    let record = DnsRecord {
        header,
        source: sixteen(source),
        destination: sixteen(destination),
        source_port: source_port.to_be_bytes(),
        destination_port: destination_port.to_be_bytes(),
        message_length: message.len() as u16,
        captured: message.len() as u16,
        ip_version: 4,
        direction: if response { direction::EGRESS } else { direction::INGRESS },
        padding: 0,
        reserved: 0,
    };
    let mut bytes = [record.as_bytes(), &message].concat();
    bytes.resize(DNS_CLASSES[1], 0);
    bytes
}
