//! One DNS question with all that was seen of it: its packet at several interfaces, its repetitions, its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use netobs_common::counters::family;
use netobs_common::trail::{Point, TRAIL_POINTS, hook};

use super::key::{FlowKey, scope};
use super::packets::SAME_PACKET_NS;
use crate::event::headers::protocol::UDP;
use crate::event::joined::{DnsExchange, Joined, JoinedKind, Sighting, StandsFor, Translation};
use crate::event::observation::DnsOutcome;
use crate::event::raw::{Context, DnsQuestion, RawDns, Tuple};

/// Packets of one question that are kept apart; of more, the newest are.
const TRIES: usize = 4;
/// Further addresses of one client that are kept.
const ALIASES: usize = 4;

/// What makes two messages the same question. The server is not part of it: translation changes that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuestionKey {
    scope: u32,
    client: SocketAddr,
    id: u16,
    question: Arc<DnsQuestion>,
}

impl QuestionKey {
    /// The key of a message about this question.
    pub fn new(dns: &RawDns, question: &Arc<DnsQuestion>) -> Self {
        let client = if dns.message.response { dns.destination } else { dns.source };
        let scope = scope(dns.context.netns, dns.source.ip(), dns.destination.ip());
        Self { scope, client, id: dns.message.id, question: Arc::clone(question) }
    }

    /// Whether a message of this id is about the same question, by whomever.
    pub fn same_question(&self, other: &Self) -> bool {
        self.id == other.id && self.question == other.question
    }
}

/// One packet that asked.
#[derive(Debug)]
struct Try {
    context: Context,
    /// Destination where it was first seen.
    asked: SocketAddr,
    /// Destination where it was last seen.
    reached: SocketAddr,
    /// Where it was seen, oldest first.
    points: Vec<Point>,
}

/// A question.
#[derive(Debug)]
pub struct Exchange {
    key: QuestionKey,
    /// Keys of the same question after the client's address was translated.
    aliases: Vec<QuestionKey>,
    /// Where it was first seen.
    first: Context,
    /// Oldest first; never empty.
    tries: Vec<Try>,
    attempts: u32,
    /// When its time is up; `None`: it is settled and told.
    pub deadline: Option<u64>,
}

/// The place where a DNS message was seen, as a point.
pub fn point(dns: &RawDns) -> Point {
    let hook = if dns.egress { hook::TCX_EGRESS } else { hook::TCX_INGRESS };
    Point { ifindex: dns.context.ifindex.unwrap_or_default(), out_ifindex: 0, hook }
}

impl Try {
    fn new(dns: &RawDns) -> Self {
        Self { context: dns.context, asked: dns.destination, reached: dns.destination, points: vec![point(dns)] }
    }

    /// Whether this is the same packet at another place. A packet does not pass one interface in one direction twice,
    /// so a second sighting there is another packet, even if the kernel has reused the memory and the client repeats
    /// itself to the byte. A copy that the kernel made (a bridge that floods) has another identity, but is otherwise
    /// equal and on its way out.
    fn is(&self, dns: &RawDns) -> bool {
        let alike = self.context.digest == dns.context.digest
            && self.context.boot_ns.abs_diff(dns.context.boot_ns) <= SAME_PACKET_NS
            && !self.points.contains(&point(dns));
        alike && (self.context.packet == dns.context.packet || dns.egress && self.reached == dns.destination)
    }

    fn see(&mut self, dns: &RawDns) {
        self.reached = dns.destination;
        if self.points.len() < TRAIL_POINTS {
            self.points.push(point(dns));
        }
    }
}

impl Exchange {
    /// A question seen for the first time.
    pub fn new(key: QuestionKey, dns: &RawDns, deadline: u64) -> Self {
        Self {
            key,
            aliases: Vec::new(),
            first: dns.context,
            tries: vec![Try::new(dns)],
            attempts: 1,
            deadline: Some(deadline),
        }
    }

    /// Every key it is found by.
    pub fn keys(&self) -> impl Iterator<Item = &QuestionKey> {
        std::iter::once(&self.key).chain(&self.aliases)
    }

    /// Takes the message as one more sighting of a packet that asked; false if it is none.
    pub fn see(&mut self, dns: &RawDns) -> bool {
        let Some(same) = self.tries.iter_mut().rev().find(|t| t.is(dns)) else { return false };
        same.see(dns);
        true
    }

    /// Takes the message as a repetition of the question.
    pub fn ask_again(&mut self, dns: &RawDns) {
        self.attempts = self.attempts.saturating_add(1);
        if self.tries.len() == TRIES {
            self.tries.remove(1);
        }
        self.tries.push(Try::new(dns));
    }

    /// Takes the message as a sighting after the client's address was translated; false if it is none. Source addresses
    /// are translated last, so only on the way out.
    pub fn see_translated(&mut self, key: &QuestionKey, dns: &RawDns) -> bool {
        dns.egress && self.key.same_question(key) && self.see(dns)
    }

    /// Remembers a key of the client's translated address, if there is room.
    pub fn add_alias(&mut self, key: &QuestionKey) -> bool {
        let room = self.aliases.len() < ALIASES;
        if room {
            self.aliases.push(key.clone());
        }
        room
    }

    /// Its flows, with every address that either end was seen under.
    pub fn flows(&self) -> impl Iterator<Item = FlowKey> {
        self.keys().flat_map(|key| {
            let servers = self.tries.iter().flat_map(|t| [t.asked, t.reached]);
            servers.map(|server| FlowKey::new(self.first.netns, UDP, key.client, server))
        })
    }

    /// When it was first seen, `CLOCK_BOOTTIME` nanoseconds.
    pub fn first_ns(&self) -> u64 {
        self.first.boot_ns
    }

    /// What became of it, with its first answer.
    pub fn answered(&self, answer: &RawDns) -> Joined {
        let asked_there = |t: &&Try| t.reached == answer.source || t.asked == answer.source;
        let mut exchange = of_answer(answer, Some(Arc::clone(&self.key.question)));
        exchange.outcome = outcome(answer);
        exchange.latency_ns = Some(answer.context.boot_ns.saturating_sub(self.first.boot_ns));
        exchange.attempts = self.attempts;
        let which = self.tries.iter().rev().find(asked_there).or(self.tries.last());
        self.joined(answer.context.boot_ns, which, exchange)
    }

    /// What became of it, without an answer by then.
    pub fn unanswered(&self, boot_ns: u64) -> Joined {
        let exchange = DnsExchange {
            id: self.key.id,
            question: Some(Arc::clone(&self.key.question)),
            outcome: DnsOutcome::Unanswered,
            rcode: None,
            answers: None,
            latency_ns: None,
            waited_ns: Some(boot_ns.saturating_sub(self.first.boot_ns)),
            attempts: self.attempts,
            answered_by: None,
            answer: None,
        };
        self.joined(boot_ns, self.tries.last(), exchange)
    }

    fn joined(&self, boot_ns: u64, which: Option<&Try>, exchange: DnsExchange) -> Joined {
        let tuple = which.map(|t| udp(self.key.client, t.asked));
        let nat = which.zip(tuple).and_then(|(t, original)| {
            let backend = (t.reached != t.asked).then(|| (t.reached.ip(), Some(t.reached.port())));
            let translated = backend.is_some() || !self.aliases.is_empty();
            translated.then_some(Translation { original, backend, reply: false })
        });
        let points = which.map(|t| t.points.clone()).unwrap_or_default();
        let kind = JoinedKind::Dns(Box::new(exchange));
        let first = Joined::of_record(StandsFor::Record(family::DNS), self.first, kind);
        Joined { boot_ns, tuple, nat, points, ..first }
    }
}

/// An answer to no question that was seen. Its addresses are told as in the question it claims to answer.
pub fn unasked(answer: &RawDns, question: Option<Arc<DnsQuestion>>) -> Joined {
    let kind = JoinedKind::Dns(Box::new(of_answer(answer, question)));
    Joined {
        tuple: Some(udp(answer.destination, answer.source)),
        points: vec![point(answer)],
        ..Joined::of_record(StandsFor::Record(family::DNS), answer.context, kind)
    }
}

fn of_answer(answer: &RawDns, question: Option<Arc<DnsQuestion>>) -> DnsExchange {
    DnsExchange {
        id: answer.message.id,
        question,
        outcome: DnsOutcome::Unasked,
        rcode: Some(answer.message.rcode),
        answers: Some(answer.message.answers),
        latency_ns: None,
        waited_ns: None,
        attempts: 0,
        answered_by: Some(answer.source),
        answer: Some(Sighting { context: answer.context, egress: answer.egress }),
    }
}

fn outcome(answer: &RawDns) -> DnsOutcome {
    match &answer.message {
        message if message.rcode != 0 => DnsOutcome::Failed,
        message if message.truncated => DnsOutcome::Truncated,
        message if message.answers == 0 => DnsOutcome::Empty,
        _ => DnsOutcome::Answered,
    }
}

fn udp(source: SocketAddr, destination: SocketAddr) -> Tuple {
    Tuple {
        protocol: UDP,
        source: source.ip(),
        destination: destination.ip(),
        source_port: Some(source.port()),
        destination_port: Some(destination.port()),
    }
}
