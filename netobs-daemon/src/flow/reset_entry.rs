//! One reset, while what belongs to it is gathered.

use std::net::SocketAddr;

use netobs_common::counters::family;
use netobs_common::trail::{Point, TRAIL_POINTS};

use super::books::Records;
use super::rejections::Rejection;
use super::reset_cause::{Seen, cause, opener};
use super::translation::{self, Pair};
use crate::event::joined::{Joined, JoinedKind, Reset, StandsFor};
use crate::event::raw::{Context, RawDrop, RawReset, RawSocket, Side, SocketSide};
use crate::event::tcp::state;

/// Forms of a reset's addresses that are kept: its sockets' and those of two translations.
const FORMS: usize = 4;

/// One end of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndKey {
    /// Network namespace, where an end is a loopback address. Link-local addresses differ between namespaces of one link, and
    /// a reset is met in two of them.
    scope: u32,
    end: SocketAddr,
    is_source: bool,
}

/// Both ends.
pub fn end_keys((source, destination): Pair, netns: Option<u32>) -> [EndKey; 2] {
    let looped = source.ip().is_loopback() || destination.ip().is_loopback();
    let scope = if looped { netns.unwrap_or_default() } else { 0 };
    [EndKey { scope, end: source, is_source: true }, EndKey { scope, end: destination, is_source: false }]
}

/// Whether a socket's word is that a segment was answered for which there is no connection.
fn answers_for_nobody(socket: &RawSocket) -> bool {
    socket.side == SocketSide::Answered && matches!(socket.state, None | Some(state::LISTEN))
}

/// What a reset answers.
#[derive(Debug)]
enum Answers {
    /// Not known yet.
    Unknown,
    /// This segment, which met no socket.
    Segment(Box<RawDrop>),
    /// Such a segment, which is told.
    Told,
    /// None of these: a socket sent it.
    Nothing,
}

/// What was seen of one reset.
#[derive(Debug)]
pub struct Entry {
    /// Of its packet, else of the first socket that spoke of it.
    pub context: Context,
    /// It has been told; it stays for a moment so that what comes late is not taken for another reset.
    pub told: bool,
    /// The drop that made it.
    pub rejected: Option<Rejection>,
    answers: Answers,
    packet: Option<Box<RawReset>>,
    sender: Option<Box<RawSocket>>,
    receiver: Option<Box<RawSocket>>,
    /// Whether its packet was seen.
    on_interface: bool,
    /// Whether the receiving side has spoken, and the sending side.
    heard: [bool; 2],
    alone: bool,
    points: Vec<Point>,
    /// As each place or socket knew it, in the order of the packet's way: `sent`, interfaces, `received`.
    sent: Option<Pair>,
    seen: Vec<Pair>,
    received: Option<Pair>,
    keys: Vec<EndKey>,
    records: Records,
}

impl Entry {
    fn new(context: Context) -> Self {
        Self {
            context,
            told: false,
            rejected: None,
            answers: Answers::Unknown,
            packet: None,
            sender: None,
            receiver: None,
            on_interface: false,
            heard: [false; 2],
            alone: false,
            points: Vec::new(),
            sent: None,
            seen: Vec::new(),
            received: None,
            keys: Vec::new(),
            records: Records::default(),
        }
    }

    /// A packet on an interface.
    pub fn of_packet(reset: Box<RawReset>, point: Point) -> Self {
        let mut entry = Self::new(reset.context);
        entry.see(point, (reset.source, reset.destination));
        entry.on_interface = true;
        entry.packet = Some(reset);
        entry.records[family::RESET] = 1;
        entry
    }

    /// A socket's word.
    pub fn of_socket(socket: Box<RawSocket>) -> Self {
        let mut entry = Self::new(socket.context);
        // It answers nothing yet.
        let _ = entry.add(socket);
        entry
    }

    /// Adds a socket's word. Returns the segment that it turns out not to answer.
    #[must_use]
    pub fn add(&mut self, socket: Box<RawSocket>) -> Option<Box<RawDrop>> {
        let sends = socket.side != SocketSide::Received;
        self.note(sends);
        self.alone |= socket.alone;
        self.records[family::SOCKET] += 1;
        let pair = Some((socket.source, socket.destination));
        if sends {
            // Somebody sent it, so no rule did.
            self.rejected = None;
            let for_nobody = answers_for_nobody(&socket);
            (self.sender, self.sent) = (Some(socket), pair);
            if !for_nobody && let Answers::Segment(drop) = std::mem::replace(&mut self.answers, Answers::Nothing) {
                return Some(drop);
            }
        } else {
            (self.receiver, self.received) = (Some(socket), pair);
        }
        None
    }

    /// Notes that a side has spoken.
    pub fn note(&mut self, sends: bool) {
        self.heard[usize::from(sends)] = true;
    }

    /// Adds what sockets said before its packet was seen. Returns segments that it turns out not to answer.
    #[must_use]
    pub fn absorb(&mut self, mut lone: Self) -> [Option<Box<RawDrop>>; 2] {
        let mut loose = [None, None];
        if let Some(drop) = lone.take_unmet() {
            if self.may_answer() {
                self.explain(Some(drop));
            } else {
                loose[0] = Some(drop);
            }
        }
        for socket in [lone.sender, lone.receiver].into_iter().flatten() {
            // Its record is counted again by `add`. A side that has spoken already keeps its word.
            if self.lacks(socket.side != SocketSide::Received) {
                // A lone entry has one sender at most.
                loose[1] = self.add(socket).or(loose[1].take());
            } else {
                self.records[family::SOCKET] += 1;
            }
        }
        loose
    }

    /// Adds another place of its packet.
    pub fn see(&mut self, point: Point, pair: Pair) {
        if self.points.len() < TRAIL_POINTS {
            self.points.push(point);
        }
        if self.seen.last() != Some(&pair) && self.seen.len() < FORMS {
            self.seen.push(pair);
        }
    }

    /// Whether a side has not spoken.
    pub fn lacks(&self, sends: bool) -> bool {
        !self.heard[usize::from(sends)]
    }

    /// Whether its packet was seen.
    pub fn was_on_an_interface(&self) -> bool {
        self.on_interface
    }

    /// Whether only sockets have spoken of it.
    pub fn is_lone(&self) -> bool {
        !self.on_interface
    }

    /// Whether no interface will ever show it.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether nothing more is to come that would change what is told. Without the sending side's word one has to wait: for
    /// that, or for a rule's drop.
    pub fn is_complete(&self) -> bool {
        let lacks_drop = self.sender.as_deref().is_some_and(answers_for_nobody) && self.may_answer();
        !self.told && self.heard == [true; 2] && (self.on_interface || self.alone) && !lacks_drop
    }

    /// Whether it may be the answer to a segment that met no socket, and that one is not known yet.
    pub fn may_answer(&self) -> bool {
        matches!(self.answers, Answers::Unknown)
    }

    /// Adds the segment that it answers; `None`: that is told already.
    pub fn explain(&mut self, drop: Option<Box<RawDrop>>) {
        self.answers = drop.map_or(Answers::Told, Answers::Segment);
    }

    /// The segment that it answers, unless that is told already.
    fn unmet(&self) -> Option<&RawDrop> {
        match &self.answers {
            Answers::Segment(drop) => Some(drop),
            Answers::Unknown | Answers::Told | Answers::Nothing => None,
        }
    }

    /// Takes out the segment that it answers.
    pub fn take_unmet(&mut self) -> Option<Box<RawDrop>> {
        match std::mem::replace(&mut self.answers, Answers::Told) {
            Answers::Segment(drop) => Some(drop),
            other => {
                self.answers = other;
                None
            }
        }
    }

    /// Whether it is known with these addresses.
    pub fn has(&self, pair: Pair) -> bool {
        self.forms().any(|form| form == pair)
    }

    /// The addresses that it is known with.
    pub fn pairs(&self) -> Vec<Pair> {
        self.forms().collect()
    }

    fn forms(&self) -> impl Iterator<Item = Pair> {
        self.sent.into_iter().chain(self.seen.iter().copied()).chain(self.received)
    }

    /// Whether a packet is a copy of its packet on the way out.
    pub fn is_copied_by(&self, reset: &RawReset, point: Point) -> bool {
        reset.egress
            && self.on_interface
            && self.context.digest.is_some()
            && self.context.digest == reset.context.digest
            && self.context.packet != reset.context.packet
            && !self.points.contains(&point)
            && self.points.iter().all(|known| known.hook == point.hook)
    }

    /// Whether a drop by a rule can be what made it: nobody here sent it, and it was made by this node, or in the namespace
    /// of a pod, where the drop was.
    pub fn may_be_made_by(&self, rejection: &Rejection) -> bool {
        let made_here = |packet: &RawReset| {
            packet.egress && packet.arrival.is_none()
                || rejection.netns.is_some() && rejection.netns != packet.context.netns
        };
        !self.told && self.lacks(true) && self.rejected.is_none() && self.packet.as_deref().is_some_and(made_here)
    }

    /// Keys of its addresses that were not asked for before.
    pub fn new_keys(&mut self) -> Vec<EndKey> {
        let mut new = Vec::new();
        for key in self.pairs().into_iter().flat_map(|pair| end_keys(pair, self.context.netns)) {
            if !self.keys.contains(&key) {
                self.keys.push(key);
                new.push(key);
            }
        }
        new
    }

    /// Keys that it is found by.
    pub fn keys(&self) -> &[EndKey] {
        &self.keys
    }

    /// Who opened the connection, as far as anybody said.
    pub fn known_opener(&self) -> Option<Side> {
        let mut sockets = [&self.sender, &self.receiver].into_iter().flatten();
        self.packet.as_ref().and_then(|packet| packet.opener).or_else(|| sockets.find_map(|socket| socket.opener))
    }

    /// Takes the number of its records, once.
    pub fn take_records(&mut self) -> Records {
        std::mem::take(&mut self.records)
    }

    /// Takes all parts out as the event, and marks it as told.
    pub fn tell(&mut self) -> Joined {
        self.told = true;
        let (packet, sender, receiver) = (self.packet.take(), self.sender.take(), self.receiver.take());
        let cause = cause(&Seen {
            packet: packet.as_deref(),
            sender: sender.as_deref(),
            receiver: receiver.as_deref(),
            rejected: self.rejected.is_some(),
            unmet_flags: self.unmet().and_then(|drop| drop.tcp_flags),
        });
        let stands_for = StandsFor::Record(if packet.is_some() { family::RESET } else { family::SOCKET });
        let rejected_at = self.rejected.and_then(|rejection| rejection.at);
        let reset = Reset { cause, packet, sender, receiver, rejected_at };
        let first = self.forms().next();
        let last = self.forms().last();
        let seen = self.seen.first().copied().or(first);
        // What the addresses leave open: an answer to who has a port for it.
        let asked_by = first.and_then(|first| opener(reset.opener(), first.0.port(), first.1.port()));
        let sights = first.zip(last);
        let nat = sights
            .and_then(|(first, last)| translation::of_sights(first, last, asked_by.unwrap_or(Side::Destination)))
            .or_else(|| self.rejected.and_then(|rejection| rejection.answer));
        Joined {
            evidence: self.rejected.iter().map(|rejection| rejection.reference).collect(),
            tuple: seen.map(translation::tcp),
            nat,
            points: self.points.clone(),
            ..Joined::of_record(stands_for, self.context, JoinedKind::Reset(Box::new(reset)))
        }
    }
}
