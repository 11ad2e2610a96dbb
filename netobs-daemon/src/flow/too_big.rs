//! Packets that were too big: the kernel's drop of one and the ICMP error about it are one event.
//!
//! The error quotes the packet as its sender knows it, before translation; the drop has it after translation, with the
//! conntrack entry that connects the two. A remote router's error comes without a drop, and what a bridge or a veth pair
//! drops comes without an error.

use std::net::IpAddr;

use netobs_common::counters::family;

use super::books::{Books, Records};
use super::held::{Held, Index, close};
use super::sizes;
use crate::event::joined::SizeFailure;
use crate::event::observation::MtuCause;
use crate::event::raw::{RawDrop, RawIcmp, SizeError, Tuple};

type Ends = (u8, IpAddr, IpAddr);

/// One of the two, waiting for the other.
#[derive(Debug)]
enum Half {
    Error(Box<RawIcmp>),
    Drop(Box<RawDrop>),
}

/// The halves that wait.
#[derive(Debug)]
pub struct TooBig {
    held: Held<Half>,
    index: Index<Ends>,
}

impl TooBig {
    /// Room for `limit` halves.
    pub fn new(limit: usize) -> Self {
        Self { held: Held::new(limit), index: Index::new() }
    }

    /// Takes an ICMP error that says that a packet was too big; returns its number where it waits.
    pub fn error(&mut self, icmp: Box<RawIcmp>, books: &mut Books) -> Option<u64> {
        books.hold(family::MTU);
        let mate = icmp.quoted.and_then(|quoted| {
            self.index.get(&ends(&quoted.tuple)).find(|number| match self.held.get(*number) {
                Some(Half::Drop(drop)) => {
                    close(drop.context.boot_ns, icmp.context.boot_ns)
                        && tuples(drop).any(|tuple| alike(&tuple, &quoted.tuple))
                }
                _ => false,
            })
        });
        match mate.and_then(|number| self.take(number)) {
            Some(Half::Drop(drop)) => {
                settle(Some(icmp), Some(drop), books);
                None
            }
            _ => Some(self.insert(Half::Error(icmp), books)),
        }
    }

    /// Takes an ICMP error that waits once more, with addresses that were translated since: it quotes the packet as its
    /// sender knows it, and goes to that sender.
    pub fn translated(&mut self, number: u64, again: &RawIcmp) {
        let Some(mut half) = self.held.remove(number) else { return };
        self.forget(number, &half);
        if let Half::Error(icmp) = &mut half {
            icmp.destination = again.destination;
            icmp.quoted = again.quoted.or(icmp.quoted);
        }
        let keys = keys(&half);
        self.held.put_back(number, half_time(&half), half);
        for key in keys {
            self.index.insert(key, number);
        }
    }

    /// Takes a drop of a packet that was too big.
    pub fn dropped(&mut self, drop: Box<RawDrop>, books: &mut Books) {
        books.hold(family::DROP);
        let mates = tuples(&drop).filter_map(|tuple| {
            self.index.get(&ends(&tuple)).find(|number| match self.held.get(*number) {
                Some(Half::Error(icmp)) => {
                    close(drop.context.boot_ns, icmp.context.boot_ns)
                        && icmp.quoted.is_some_and(|quoted| alike(&tuple, &quoted.tuple))
                }
                _ => false,
            })
        });
        match mates.min().and_then(|number| self.take(number)) {
            Some(Half::Error(icmp)) => settle(Some(icmp), Some(drop), books),
            _ => {
                self.insert(Half::Drop(drop), books);
            }
        }
    }

    /// Tells what has waited long enough.
    pub fn expire(&mut self, now_ns: u64, books: &mut Books) {
        while let Some((number, half)) = self.held.pop_due(now_ns) {
            self.forget(number, &half);
            alone(half, books);
        }
    }

    /// When [`Self::expire`] is next needed.
    pub fn next_deadline(&self) -> Option<u64> {
        self.held.next_deadline()
    }

    fn insert(&mut self, half: Half, books: &mut Books) -> u64 {
        while self.held.is_full() {
            let Some((number, oldest)) = self.held.pop_due(u64::MAX) else { break };
            self.forget(number, &oldest);
            books.stats.told_early += 1;
            alone(oldest, books);
        }
        let keys = keys(&half);
        let number = self.held.insert(half_time(&half), half);
        for key in keys {
            self.index.insert(key, number);
        }
        number
    }

    fn take(&mut self, number: u64) -> Option<Half> {
        let half = self.held.remove(number)?;
        self.forget(number, &half);
        Some(half)
    }

    fn forget(&mut self, number: u64, half: &Half) {
        for key in keys(half) {
            self.index.remove(&key, number);
        }
    }
}

/// When a half was seen.
fn half_time(half: &Half) -> u64 {
    match half {
        Half::Error(icmp) => icmp.context.boot_ns,
        Half::Drop(drop) => drop.context.boot_ns,
    }
}

fn ends(tuple: &Tuple) -> Ends {
    (tuple.protocol, tuple.source, tuple.destination)
}

/// The forms in which the sender of a dropped packet may know it.
fn tuples(drop: &RawDrop) -> impl Iterator<Item = Tuple> {
    drop.tuple.into_iter().chain(drop.conntrack.into_iter().flat_map(|entry| [entry.original, entry.reply]))
}

fn keys(half: &Half) -> Vec<Ends> {
    let mut keys: Vec<Ends> = match half {
        Half::Error(icmp) => icmp.quoted.iter().map(|quoted| ends(&quoted.tuple)).collect(),
        Half::Drop(drop) => tuples(drop).map(|tuple| ends(&tuple)).collect(),
    };
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Equal, as far as both have ports: a fragment other than the first has none.
fn alike(one: &Tuple, other: &Tuple) -> bool {
    let port = |one: Option<u16>, other: Option<u16>| one.is_none() || other.is_none() || one == other;
    ends(one) == ends(other)
        && port(one.source_port, other.source_port)
        && port(one.destination_port, other.destination_port)
}

fn alone(half: Half, books: &mut Books) {
    match half {
        Half::Error(icmp) => settle(Some(icmp), None, books),
        Half::Drop(drop) => settle(None, Some(drop), books),
    }
}

fn settle(icmp: Option<Box<RawIcmp>>, drop: Option<Box<RawDrop>>, books: &mut Books) {
    let cause = match icmp.as_ref().map(|icmp| icmp.error) {
        Some(SizeError::FragmentationNeeded) => MtuCause::FragmentationNeeded,
        Some(SizeError::PacketTooBig) => MtuCause::PacketTooBig,
        Some(SizeError::ReassemblyTimeExceeded) => MtuCause::ReassemblyFailed,
        None => MtuCause::ExceedsMtu,
    };
    let mut records = Records::default();
    records[family::MTU] = icmp.is_some().into();
    records[family::DROP] = drop.is_some().into();
    books.settle(&records, sizes::joined(SizeFailure { cause, icmp, drop }, 1));
}
