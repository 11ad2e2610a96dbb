//! TCP segments that met no socket, or nothing but a listener. The kernel answers each but a reset with a reset, and drops it
//! (`net/ipv4/tcp_ipv4.c`: `tcp_v4_rcv` at `no_tcp_socket`, `tcp_v4_do_rcv` at `reset`): the drop explains the reset and is no
//! failure of its own.

use std::net::{IpAddr, SocketAddr};

use super::books::{Books, Records};
use super::drops;
use super::held::{Held, Index, close};
use super::references::DropReferences;
use super::reset_entry::{EndKey, end_keys};
use super::translation::Pair;
use crate::event::headers::protocol::TCP;
use crate::event::joined::Joined;
use crate::event::raw::RawDrop;
use crate::event::tcp::flag;
use netobs_common::counters::family;

/// How far apart a drop and a reset between the same addresses may be so that the drop's own reset is taken for one that was
/// counted: 2 s. In each second the first resets are told whole, and what is counted is read once a second.
const LATELY_NS: u64 = 2_000_000_000;

/// The addresses of the reset that answers a segment which met no socket. `None` for other packets, and for a reset, which
/// nobody answers (RFC 9293 section 3.5.2).
pub fn answer(drop: &RawDrop) -> Option<Pair> {
    let tuple = drop.tuple.filter(|tuple| tuple.protocol == TCP)?;
    drop.tcp_flags.filter(|flags| flags & flag::RST == 0)?;
    let source = SocketAddr::new(tuple.destination, tuple.destination_port?);
    Some((source, SocketAddr::new(tuple.source, tuple.source_port?)))
}

/// Who answers whom; the namespace counts where an address is a loopback one; `None`: whomever.
type Answerer = (u32, IpAddr, Option<IpAddr>);

fn answerers(netns: Option<u32>, server: IpAddr, client: Option<IpAddr>) -> [Answerer; 2] {
    let looped = server.is_loopback() || client.is_some_and(|client| client.is_loopback());
    let scope = netns.filter(|_| looped).unwrap_or_default();
    [(scope, server, client), (scope, server, None)]
}

/// The drops that wait for their resets, and who answered whom lately.
#[derive(Debug)]
pub struct Refusals {
    held: Held<Box<RawDrop>>,
    index: Index<[EndKey; 2]>,
    answered: DropReferences<Answerer, u64>,
}

impl Refusals {
    /// Room for `held` drops that wait, and for `answers` to remember.
    pub fn new(held: usize, answers: usize) -> Self {
        Self { held: Held::new(held), index: Index::new(), answered: DropReferences::new(answers) }
    }

    /// Lets a drop wait for the reset with these addresses. Its record is held already.
    pub fn insert(&mut self, drop: Box<RawDrop>, answer: Pair, books: &mut Books) {
        while self.held.is_full() {
            let Some((number, oldest)) = self.held.pop_due(u64::MAX) else { break };
            books.stats.told_early += 1;
            self.end(number, oldest, books);
        }
        let keys = end_keys(answer, drop.context.netns);
        let number = self.held.insert(drop.context.boot_ns, drop);
        self.index.insert(keys, number);
    }

    /// The oldest drop that a reset with these addresses, at that time, answers.
    pub fn take(&mut self, answer: Pair, netns: Option<u32>, boot_ns: u64) -> Option<Box<RawDrop>> {
        let keys = end_keys(answer, netns);
        let near = |number: &u64| self.held.get(*number).is_some_and(|drop| close(drop.context.boot_ns, boot_ns));
        let number = self.index.get(&keys).find(near)?;
        self.index.remove(&keys, number);
        self.held.remove(number)
    }

    /// Notes that a reset for the lack of a socket or of a connection was told.
    pub fn note(&mut self, (server, client): Pair, netns: Option<u32>, boot_ns: u64) {
        for key in answerers(netns, server.ip(), Some(client.ip())) {
            self.answered.insert(key, boot_ns, boot_ns);
        }
    }

    /// Whether such a reset was told about that time: from a server to a client, or to whomever.
    pub fn is_answered(&self, netns: Option<u32>, server: IpAddr, client: Option<IpAddr>, boot_ns: u64) -> bool {
        let [key, _] = answerers(netns, server, client);
        let mut about = self.answered.since(&key, boot_ns.saturating_sub(LATELY_NS));
        about.any(|at| at <= boot_ns.saturating_add(LATELY_NS))
    }

    /// Tells what has waited long enough.
    pub fn expire(&mut self, now_ns: u64, books: &mut Books) {
        while let Some((number, drop)) = self.held.pop_due(now_ns) {
            self.end(number, drop, books);
        }
        // Twice, because sums come later than what they tell of.
        self.answered.purge(now_ns.saturating_sub(2 * LATELY_NS));
    }

    /// When [`Self::expire`] is next needed.
    pub fn next_deadline(&self) -> Option<u64> {
        self.held.next_deadline()
    }

    /// Tells a drop whose own reset was not seen.
    pub fn settle_alone(&self, drop: Box<RawDrop>, books: &mut Books) {
        let context = drop.context;
        let answered = answer(&drop).is_some_and(|(server, client)| {
            self.is_answered(context.netns, server.ip(), Some(client.ip()), context.boot_ns)
        });
        settle(drop, answered, books);
    }

    fn end(&mut self, number: u64, drop: Box<RawDrop>, books: &mut Books) {
        if let Some(answer) = answer(&drop) {
            self.index.remove(&end_keys(answer, drop.context.netns), number);
        }
        self.settle_alone(drop, books);
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.held.next_deadline().is_none() && self.index.is_empty()
    }
}

/// The event of a drop whose reset is, or is not, told.
pub fn event(drop: Box<RawDrop>, answered: bool) -> Joined {
    Joined { answered, ..drops::joined(drop) }
}

/// Tells a drop by itself.
pub fn settle(drop: Box<RawDrop>, answered: bool, books: &mut Books) {
    let mut records = Records::default();
    records[family::DROP] = 1;
    books.settle(&records, event(drop, answered));
}
