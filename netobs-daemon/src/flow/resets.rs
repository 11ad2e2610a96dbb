//! Resets: the packet on the node's interfaces and what sockets say of it are one event.
//!
//! The packet is the truth; a socket's word about a reset that no interface shows is none, unless the reset stays in a pod's
//! own loopback. Addresses tell what belongs together. Translation may have changed one end between a socket and the first
//! interface; then the other end, the client's, has to do.

use std::net::IpAddr;

use netobs_common::counters::family;
use netobs_common::trail::{Point, hook};

use super::books::Books;
use super::held::{Held, Index, close};
use super::packets::RecentPackets;
use super::refusals::{self, Refusals};
use super::rejections::{Rejection, Rejections};
use super::reset_cause::opener;
use super::reset_entry::{EndKey, Entry, end_keys};
use super::translation::Pair;
use crate::event::joined::{JoinedKind, LastPoint};
use crate::event::observation::ResetCause;
use crate::event::raw::{Context, RawDrop, RawReset, RawSocket, Side, SocketSide};

/// The resets of the last moments.
#[derive(Debug)]
pub struct Resets {
    held: Held<Entry>,
    /// Entries by each end of each form of their addresses.
    ends: Index<EndKey>,
    /// Entries by the identity of their packets.
    packets: RecentPackets<u64>,
    rejections: Rejections,
    refusals: Refusals,
}

impl Resets {
    /// Room for `held` resets that wait, `packets` remembered ones, and `rejections` drops that may have made one.
    pub fn new(held: usize, packets: usize, rejections: usize) -> Self {
        Self {
            held: Held::new(held),
            ends: Index::new(),
            packets: RecentPackets::new(packets),
            rejections: Rejections::new(rejections),
            refusals: Refusals::new(held, rejections),
        }
    }

    /// Takes a reset that an interface showed.
    pub fn packet(&mut self, reset: Box<RawReset>, books: &mut Books) {
        let point = point(&reset);
        let pair = (reset.source, reset.destination);
        // Only where the kernel side says so: resets are all alike, and the next one may have the same memory.
        if reset.translated
            && let Some(number) = self.packets.get(&reset.context).copied()
        {
            books.fold(family::RESET);
            self.seen_again(number, point, pair, books);
            return;
        }
        // A copy that the kernel made (a bridge that floods) has another identity, but is otherwise equal.
        let key = |entry: &Entry| entry.is_copied_by(&reset, point);
        if let Some(number) = self.find(pair, &reset.context, None, |entry, exact| exact && key(entry)) {
            books.fold(family::RESET);
            self.seen_again(number, point, pair, books);
            return;
        }
        books.hold(family::RESET);
        let context = reset.context;
        let number = self.insert(Entry::of_packet(reset, point), books);
        self.packets.insert(&context, number);
        self.consider(number, books);
    }

    /// Takes what a socket says.
    pub fn socket(&mut self, socket: Box<RawSocket>, books: &mut Books) {
        let pair = (socket.source, socket.destination);
        let sends = socket.side != SocketSide::Received;
        let number = self.find(pair, &socket.context, socket.opener, |entry, exact| {
            // Two sockets' words whose packet is still to come are brought together by that.
            entry.lacks(sends) && (exact || entry.was_on_an_interface())
        });
        let Some(number) = number else {
            books.hold(family::SOCKET);
            let number = self.insert(Entry::of_socket(socket), books);
            self.find_unmet(number);
            self.settle_if_complete(number, books);
            return;
        };
        let Some(entry) = self.held.get_mut(number) else { return };
        if entry.told {
            entry.note(sends);
            books.fold(family::SOCKET);
            return;
        }
        books.hold(family::SOCKET);
        let foreign = entry.add(socket);
        self.reindex(number);
        self.find_unmet(number);
        self.settle_if_complete(number, books);
        self.explain_all(foreign, books);
    }

    /// Takes the drop of a segment that met no socket; `answer`: the addresses of the reset that answers it.
    pub fn unmet(&mut self, drop: Box<RawDrop>, answer: Pair, books: &mut Books) {
        books.hold(family::DROP);
        self.explain(drop, answer, books);
    }

    fn explain_all(&mut self, drops: impl IntoIterator<Item = Box<RawDrop>>, books: &mut Books) {
        for drop in drops {
            match refusals::answer(&drop) {
                Some(answer) => self.explain(drop, answer, books),
                // Cannot be: only drops with such addresses came here.
                None => refusals::settle(drop, false, books),
            }
        }
    }

    /// Adds such a drop, which is held, to its reset, or lets it wait for that.
    fn explain(&mut self, drop: Box<RawDrop>, answer: Pair, books: &mut Books) {
        let found = self.find(answer, &drop.context, None, |entry, exact| exact && entry.may_answer());
        let Some((number, entry)) = found.and_then(|number| Some((number, self.held.get_mut(number)?))) else {
            self.refusals.insert(drop, answer, books);
            return;
        };
        if entry.told {
            entry.explain(None);
            refusals::settle(drop, true, books);
        } else {
            entry.explain(Some(drop));
            self.settle_if_complete(number, books);
        }
    }

    /// Looks for the segment that a reset answers.
    fn find_unmet(&mut self, number: u64) {
        let Some(entry) = self.held.get_mut(number).filter(|entry| !entry.told && entry.may_answer()) else { return };
        let Context { netns, boot_ns, .. } = entry.context;
        let found = entry.pairs().into_iter().find_map(|pair| self.refusals.take(pair, netns, boot_ns));
        if found.is_some() {
            entry.explain(found);
        }
    }

    /// Whether segments from a client (`None`: from whomever) that met no socket of a server were answered about that time.
    pub fn answered(&self, netns: Option<u32>, server: IpAddr, client: Option<IpAddr>, boot_ns: u64) -> bool {
        self.refusals.is_answered(netns, server, client, boot_ns)
    }

    /// Takes a drop by netfilter, told as `reference`: the rule may have answered with a reset.
    pub fn rejected(&mut self, drop: &RawDrop, at: Option<LastPoint>, reference: u64, books: &mut Books) {
        let rejections = Rejection::of(drop, at, reference);
        for (pair, rejection) in rejections.iter().copied() {
            let number = self.find(pair, &drop.context, None, |entry, exact| exact && entry.may_be_made_by(&rejection));
            if let Some(number) = number
                && let Some(entry) = self.held.get_mut(number)
            {
                entry.rejected = Some(rejection);
                self.settle_if_complete(number, books);
                return;
            }
        }
        self.rejections.insert(rejections);
    }

    /// Tells what has waited long enough.
    pub fn expire(&mut self, now_ns: u64, books: &mut Books) {
        while let Some((number, entry)) = self.held.pop_due(now_ns) {
            self.end(number, entry, books);
        }
        self.refusals.expire(now_ns, books);
        self.packets.purge(now_ns);
        self.rejections.purge(now_ns);
    }

    /// When [`Self::expire`] is next needed.
    pub fn next_deadline(&self) -> Option<u64> {
        [self.held.next_deadline(), self.refusals.next_deadline()].into_iter().flatten().min()
    }

    /// Packets forgotten before their time because there was no room.
    pub fn evicted_packets(&self) -> u64 {
        self.packets.evicted()
    }

    /// Drops forgotten before their time because there was no room.
    pub fn evicted_references(&self) -> u64 {
        self.rejections.evicted()
    }

    /// The packet of an entry at another place.
    fn seen_again(&mut self, number: u64, point: Point, pair: Pair, books: &mut Books) {
        let Some(entry) = self.held.get_mut(number) else { return };
        entry.see(point, pair);
        self.reindex(number);
        self.consider(number, books);
    }

    /// Looks for what is already there of a packet: its sockets' words, and the drop that made it.
    fn consider(&mut self, number: u64, books: &mut Books) {
        // Segments that turn out to be answered by another reset.
        let mut loose = Vec::new();
        for sends in [true, false] {
            let Some(entry) = self.held.get(number).filter(|entry| !entry.told && entry.lacks(sends)) else { continue };
            let pairs = entry.pairs();
            let (context, opener) = (entry.context, entry.known_opener());
            let lone = |entry: &Entry| entry.is_lone() && !entry.told && !entry.lacks(sends);
            let other = pairs.iter().find_map(|pair| self.find(*pair, &context, opener, |entry, _| lone(entry)));
            if let Some(other) = other.filter(|other| *other != number)
                && let Some(lone) = self.held.remove(other)
            {
                self.forget(other, &lone);
                if let Some(entry) = self.held.get_mut(number) {
                    loose.extend(entry.absorb(lone).into_iter().flatten());
                }
                self.reindex(number);
            }
        }
        if let Some(entry) = self.held.get_mut(number) {
            let found = entry.pairs().iter().find_map(|pair| {
                let mut rejections = self.rejections.of(*pair, entry.context.boot_ns);
                rejections.find(|rejection| entry.may_be_made_by(rejection))
            });
            entry.rejected = entry.rejected.or(found);
        }
        self.find_unmet(number);
        self.settle_if_complete(number, books);
        self.explain_all(loose, books);
    }

    /// The oldest entry that fits, by the addresses as they are (exact), else by the client's end alone, if just one does.
    fn find(
        &self,
        pair: Pair,
        context: &Context,
        known_opener: Option<Side>,
        fits: impl Fn(&Entry, bool) -> bool,
    ) -> Option<u64> {
        let client = opener(known_opener, pair.0.port(), pair.1.port());
        let [source, destination] = end_keys(pair, context.netns);
        let end = if client == Some(Side::Destination) { destination } else { source };
        let candidates = || {
            let entries = self.ends.get(&end).filter_map(|number| Some((number, self.held.get(number)?)));
            entries.filter(|(_, entry)| close(entry.context.boot_ns, context.boot_ns))
        };
        if let Some((number, _)) = candidates().find(|(_, entry)| entry.has(pair) && fits(entry, true)) {
            return Some(number);
        }
        client?;
        let mut loose = candidates().filter(|(_, entry)| !entry.has(pair) && fits(entry, false));
        loose.next().filter(|_| loose.next().is_none()).map(|(number, _)| number)
    }

    fn insert(&mut self, entry: Entry, books: &mut Books) -> u64 {
        while self.held.is_full() {
            let Some((number, oldest)) = self.held.pop_due(u64::MAX) else { break };
            books.stats.told_early += u64::from(!oldest.told);
            self.end(number, oldest, books);
        }
        let number = self.held.insert(entry.context.boot_ns, entry);
        self.reindex(number);
        number
    }

    /// Makes an entry be found by all its addresses.
    fn reindex(&mut self, number: u64) {
        let Some(entry) = self.held.get_mut(number) else { return };
        for key in entry.new_keys() {
            self.ends.insert(key, number);
        }
    }

    fn forget(&mut self, number: u64, entry: &Entry) {
        for key in entry.keys() {
            self.ends.remove(key, number);
        }
    }

    fn settle_if_complete(&mut self, number: u64, books: &mut Books) {
        if let Some(entry) = self.held.get_mut(number).filter(|entry| entry.is_complete()) {
            tell(entry, &mut self.refusals, books);
        }
    }

    /// An entry's time is up.
    fn end(&mut self, number: u64, mut entry: Entry, books: &mut Books) {
        self.forget(number, &entry);
        if entry.told {
            return;
        }
        if entry.was_on_an_interface() || entry.is_alone() {
            tell(&mut entry, &mut self.refusals, books);
        } else {
            if let Some(drop) = entry.take_unmet() {
                self.refusals.settle_alone(drop, books);
            }
            let records = entry.take_records();
            books.stats.unseen_resets += records[family::SOCKET];
            books.fold_held(&records);
        }
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.held.next_deadline().is_none() && self.ends.is_empty() && self.refusals.is_empty()
    }
}

fn tell(entry: &mut Entry, refusals: &mut Refusals, books: &mut Books) {
    let mut records = entry.take_records();
    let joined = entry.tell();
    let unmet = entry.take_unmet();
    records[family::DROP] = unmet.is_some().into();
    let for_nobody = match &joined.kind {
        JoinedKind::Reset(reset) => matches!(reset.cause, ResetCause::Refused | ResetCause::NoConnection),
        _ => false,
    };
    for pair in entry.pairs().into_iter().filter(|_| for_nobody) {
        refusals.note(pair, joined.netns, joined.boot_ns);
    }
    books.settle_explained(&records, joined, unmet.map(|drop| refusals::event(drop, true)));
}

fn point(reset: &RawReset) -> Point {
    let hook = if reset.egress { hook::TCX_EGRESS } else { hook::TCX_INGRESS };
    Point { ifindex: reset.context.ifindex.unwrap_or_default(), out_ifindex: 0, hook }
}
