//! The questions that wait for an answer, and those just settled, whose late sightings are still to be recognised.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::Map;
use super::exchange::{Exchange, QuestionKey, unasked};
use super::packets::RecentPackets;
use crate::event::joined::Joined;
use crate::event::raw::{DnsQuestion, RawDns};

/// How long a settled exchange is remembered, so that its answer at the next interface is not taken for another: 2 s.
pub const SETTLED_NS: u64 = 2_000_000_000;

/// What became of a record of a DNS message.
#[derive(Debug)]
pub enum Fate {
    /// Part of something known.
    Folded,
    /// A question that now waits for its answer.
    Pending,
    /// An answer: this is the exchange. The question's record is in it, the answer's is folded.
    Settled(Joined),
    /// An answer to no question that was seen.
    Unasked(Joined),
    /// A question without a question section: there is nothing to answer.
    Nothing,
}

/// What is remembered of a packet with a DNS message.
#[derive(Debug)]
enum Seen {
    /// It asked in this exchange.
    Question(u64),
    /// It was told as an answer to no question.
    Unasked(QuestionKey),
}

/// The exchanges.
#[derive(Debug)]
pub struct Questions {
    exchanges: Map<u64, Exchange>,
    by_key: Map<QuestionKey, u64>,
    packets: RecentPackets<Seen>,
    /// Those that wait, by when their time is up.
    pending: BTreeSet<(u64, u64)>,
    /// Those that are settled, by when they are to be forgotten. May name exchanges that are gone.
    settled: VecDeque<(u64, u64)>,
    next: u64,
    limit: usize,
    timeout_ns: u64,
    evicted: u64,
}

impl Questions {
    /// Keeps at most `limit` questions that wait, and as many that are settled.
    pub fn new(limit: usize, packets: usize, timeout_ns: u64) -> Self {
        Self {
            exchanges: Map::default(),
            by_key: Map::default(),
            packets: RecentPackets::new(packets),
            pending: BTreeSet::new(),
            settled: VecDeque::new(),
            next: 0,
            limit: limit.max(1),
            timeout_ns,
            evicted: 0,
        }
    }

    /// Questions that wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Questions forgotten while they waited, because there was no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Packets forgotten before their time because there was no room.
    pub fn evicted_packets(&self) -> u64 {
        self.packets.evicted()
    }

    /// When the time of the next question is up.
    pub fn next_deadline(&self) -> Option<u64> {
        self.pending.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a message.
    pub fn ingest(&mut self, mut dns: RawDns) -> Fate {
        let question = dns.message.question.take().map(Arc::new);
        match question {
            Some(question) if dns.message.response => self.answer(&dns, &question),
            Some(question) => self.question(&dns, &question),
            None if dns.message.response => Fate::Unasked(unasked(&dns, None)),
            None => Fate::Nothing,
        }
    }

    fn question(&mut self, dns: &RawDns, question: &Arc<DnsQuestion>) -> Fate {
        let key = QuestionKey::new(dns, question);
        if let Some(&number) = self.by_key.get(&key)
            && let Some(exchange) = self.exchanges.get_mut(&number)
        {
            if exchange.see(dns) {
                return Fate::Folded;
            }
            if exchange.deadline.is_some() {
                exchange.ask_again(dns);
                self.packets.insert(&dns.context, Seen::Question(number));
                return Fate::Folded;
            }
            // Asked again after it was settled: the answer has not reached the client.
            self.forget(number);
        } else if let Some(&Seen::Question(number)) = self.packets.get(&dns.context)
            && let Some(exchange) = self.exchanges.get_mut(&number)
            && exchange.see_translated(&key, dns)
        {
            if exchange.add_alias(&key) {
                self.by_key.insert(key, number);
            }
            return Fate::Folded;
        }
        self.begin(key, dns);
        Fate::Pending
    }

    fn begin(&mut self, key: QuestionKey, dns: &RawDns) {
        while self.pending.len() >= self.limit {
            if let Some((_, oldest)) = self.pending.pop_first() {
                self.forget(oldest);
                self.evicted += 1;
            }
        }
        let number = self.next;
        self.next += 1;
        let deadline = dns.context.boot_ns.saturating_add(self.timeout_ns);
        self.packets.insert(&dns.context, Seen::Question(number));
        self.by_key.insert(key.clone(), number);
        self.exchanges.insert(number, Exchange::new(key, dns, deadline));
        self.pending.insert((deadline, number));
    }

    fn answer(&mut self, dns: &RawDns, question: &Arc<DnsQuestion>) -> Fate {
        let key = QuestionKey::new(dns, question);
        if let Some(&number) = self.by_key.get(&key)
            && let Some(exchange) = self.exchanges.get_mut(&number)
        {
            let Some(deadline) = exchange.deadline.take() else { return Fate::Folded };
            let joined = exchange.answered(dns);
            self.pending.remove(&(deadline, number));
            self.settle(number, dns.context.boot_ns);
            return Fate::Settled(joined);
        }
        // The same packet once more, after its addresses were translated back.
        if let Some(Seen::Unasked(told)) = self.packets.get(&dns.context)
            && told.same_question(&key)
            && *told != key
        {
            return Fate::Folded;
        }
        self.packets.insert(&dns.context, Seen::Unasked(key));
        Fate::Unasked(unasked(dns, Some(Arc::clone(question))))
    }

    /// The next question whose time is up by then: its exchange and what became of it.
    pub fn time_out(&mut self, now_ns: u64) -> Option<(&Exchange, Joined)> {
        let (deadline, number) = self.pending.first().copied().filter(|(deadline, _)| *deadline <= now_ns)?;
        self.pending.pop_first();
        self.settle(number, deadline);
        let exchange = self.exchanges.get_mut(&number)?;
        exchange.deadline = None;
        Some((exchange, exchange.unanswered(deadline)))
    }

    /// Forgets what was settled long enough ago.
    pub fn purge(&mut self, now_ns: u64) {
        while let Some(&(until, number)) = self.settled.front()
            && until <= now_ns
        {
            self.settled.pop_front();
            self.forget(number);
        }
        self.packets.purge(now_ns);
    }

    /// Remembers an exchange that is settled for a while more.
    fn settle(&mut self, number: u64, boot_ns: u64) {
        if self.settled.len() >= self.limit
            && let Some((_, oldest)) = self.settled.pop_front()
        {
            self.forget(oldest);
        }
        self.settled.push_back((boot_ns.saturating_add(SETTLED_NS), number));
    }

    /// Whether nothing is left of any exchange.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.by_key.is_empty() && self.pending.is_empty() && self.settled.is_empty()
    }

    fn forget(&mut self, number: u64) {
        if let Some(exchange) = self.exchanges.remove(&number) {
            for key in exchange.keys() {
                self.by_key.remove(key);
            }
        }
    }
}
