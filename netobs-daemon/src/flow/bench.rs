//! What the tests of the table share: a table whose ledger is checked after each step, and records to feed it with.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use netobs_common::trail::{Point, hook};

use super::*;
use crate::event::raw::Context;

/// Numbers of the drop reasons in tests.
pub const UNSPECIFIED: u32 = 2;
pub const NO_SOCKET: u32 = 3;
pub const NETFILTER: u32 = 8;
pub const FLAGS: u32 = 30;
pub const TOO_BIG: u32 = 70;
pub const REASSEMBLY: u32 = 71;

pub fn reasons() -> DropReasons {
    DropReasons {
        too_big: Some(TOO_BIG),
        unspecified: Some(UNSPECIFIED),
        no_connection: vec![NO_SOCKET, FLAGS],
        netfilter: Some(NETFILTER),
        reassembly: vec![REASSEMBLY],
    }
}

pub struct Bench {
    pub table: FlowTable,
    out: Vec<Joined>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(FlowLimits::default())
    }

    pub fn with(limits: FlowLimits) -> Self {
        Self { table: FlowTable::new(limits, reasons()), out: Vec::new() }
    }

    /// What a record makes come out.
    pub fn ingest(&mut self, event: RawEvent) -> Vec<Joined> {
        self.table.ingest(event, &mut self.out);
        check_ledger(&self.table.stats());
        std::mem::take(&mut self.out)
    }

    pub fn dropped(&mut self, drop: RawDrop) -> Vec<Joined> {
        self.ingest(of_drop(drop))
    }

    pub fn expire(&mut self, now_ns: u64) -> Vec<Joined> {
        self.table.expire(now_ns, &mut self.out);
        check_ledger(&self.table.stats());
        std::mem::take(&mut self.out)
    }
}

pub fn of_drop(drop: RawDrop) -> RawEvent {
    RawEvent::Drop(Box::new(drop))
}

/// The sum of each family.
pub fn check_ledger(stats: &FlowStats) {
    for family in 0..family::COUNT {
        let sum = stats.emitted[family] + stats.folded[family] + stats.pending[family] + stats.evicted[family];
        assert_eq!(stats.ingested[family], sum, "family {family}: {stats:?}");
    }
}

pub fn one(joined: &[Joined]) -> &Joined {
    assert_eq!(joined.len(), 1, "{joined:?}");
    &joined[0]
}

pub fn context(packet: u64, ifindex: u32, boot_ns: u64) -> Context {
    Context { boot_ns, packet, digest: Some(7), cgroup: None, netns: Some(1), ifindex: Some(ifindex), cpu: 0 }
}

pub fn udp((source, destination): (&str, &str)) -> Tuple {
    let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    Tuple { protocol: UDP, ..translation::tcp((source, destination)) }
}

/// The drop, by netfilter, of a packet of UDP.
pub fn dropped(ends: (&str, &str), packet: u64, location: u64, boot_ns: u64) -> RawDrop {
    RawDrop {
        context: context(packet, 3, boot_ns),
        location,
        reason: NETFILTER,
        length: 60,
        mtu: None,
        out_ifindex: None,
        out_mtu: None,
        peer_mtu: None,
        gso_size: None,
        size: None,
        fragment: None,
        hop_limit: None,
        ethertype: 0x0800,
        socket_family: None,
        device: None,
        tuple: Some(udp(ends)),
        tcp_flags: None,
        conntrack: None,
        points: vec![Point { ifindex: 3, out_ifindex: 0, hook: hook::TCX_INGRESS }],
    }
}
