//! Fragments that were given up before all had come: those of one packet, and the ICMP error about it, are one event.

use std::net::IpAddr;

use netobs_common::counters::family;

use super::books::{Books, Records};
use super::held::{FRAGMENTS_HOLD_NS, Held, Index};
use super::sizes;
use crate::event::joined::SizeFailure;
use crate::event::observation::MtuCause;
use crate::event::raw::{Fragment, RawDrop, RawIcmp, Tuple};

/// What the fragments of one packet have in common (RFC 791 section 3.2, RFC 8200 section 4.5, which leaves the protocol out:
/// there it is `None`).
type PacketKey = (IpAddr, IpAddr, Option<u8>, u32);

/// A packet of which fragments were given up.
#[derive(Debug)]
struct GivenUp {
    /// `None` where the headers could not be read.
    key: Option<PacketKey>,
    boot_ns: u64,
    /// The first fragment, if it was among them, else the one that came first.
    drop: Option<Box<RawDrop>>,
    icmp: Option<Box<RawIcmp>>,
    records: Records,
}

/// The packets of the last moments.
#[derive(Debug)]
pub struct Fragments {
    held: Held<GivenUp>,
    index: Index<PacketKey>,
}

impl Fragments {
    /// Room for `limit` packets.
    pub fn new(limit: usize) -> Self {
        Self { held: Held::holding(limit, FRAGMENTS_HOLD_NS), index: Index::new() }
    }

    /// Takes the drop of a fragment.
    pub fn dropped(&mut self, drop: Box<RawDrop>, books: &mut Books) {
        let key = drop.tuple.zip(drop.fragment).map(|(tuple, fragment)| key(&tuple, fragment));
        self.record(key, drop.context.boot_ns, family::DROP, books, |packet| {
            let is_first = |drop: &RawDrop| drop.fragment.is_some_and(|fragment| fragment.offset == 0);
            if packet.drop.as_ref().is_none_or(|known| !is_first(known) && is_first(&drop)) {
                packet.drop = Some(drop);
            }
        });
    }

    /// Takes an ICMP error that says that the time for reassembly is over.
    pub fn error(&mut self, icmp: Box<RawIcmp>, books: &mut Books) {
        let key = icmp.quoted.and_then(|quoted| Some(key(&quoted.tuple, quoted.fragment?)));
        self.record(key, icmp.context.boot_ns, family::MTU, books, |packet| {
            packet.icmp.get_or_insert(icmp);
        });
    }

    /// Tells what has waited long enough.
    pub fn expire(&mut self, now_ns: u64, books: &mut Books) {
        while let Some((number, packet)) = self.held.pop_due(now_ns) {
            self.settle(number, packet, books);
        }
    }

    /// When [`Self::expire`] is next needed.
    pub fn next_deadline(&self) -> Option<u64> {
        self.held.next_deadline()
    }

    /// Adds a record to the packet that it is of. Where its headers do not tell, that is a packet of its own.
    fn record(
        &mut self,
        key: Option<PacketKey>,
        boot_ns: u64,
        family: usize,
        books: &mut Books,
        add: impl FnOnce(&mut GivenUp),
    ) {
        books.hold(family);
        let close = |packet: &GivenUp| packet.boot_ns.abs_diff(boot_ns) <= FRAGMENTS_HOLD_NS;
        let near = |number: &u64| self.held.get(*number).is_some_and(close);
        let known = key.and_then(|key| self.index.get(&key).find(near));
        let number = known.unwrap_or_else(|| self.begin(key, boot_ns, books));
        if let Some(packet) = self.held.get_mut(number) {
            packet.records[family] += 1;
            add(packet);
        }
    }

    fn begin(&mut self, key: Option<PacketKey>, boot_ns: u64, books: &mut Books) -> u64 {
        while self.held.is_full() {
            let Some((number, oldest)) = self.held.pop_due(u64::MAX) else { break };
            books.stats.told_early += 1;
            self.settle(number, oldest, books);
        }
        let packet = GivenUp { key, boot_ns, drop: None, icmp: None, records: Records::default() };
        let number = self.held.insert(boot_ns, packet);
        if let Some(key) = key {
            self.index.insert(key, number);
        }
        number
    }

    fn settle(&mut self, number: u64, packet: GivenUp, books: &mut Books) {
        let GivenUp { key, drop, icmp, records, .. } = packet;
        if let Some(key) = key {
            self.index.remove(&key, number);
        }
        let count = records[family::DROP].max(1);
        let failure = SizeFailure { cause: MtuCause::ReassemblyFailed, icmp, drop };
        books.settle(&records, sizes::joined(failure, count));
    }
}

fn key(tuple: &Tuple, fragment: Fragment) -> PacketKey {
    let protocol = tuple.source.is_ipv4().then_some(tuple.protocol);
    (tuple.source, tuple.destination, protocol, fragment.identification)
}
