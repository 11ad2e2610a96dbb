//! What is kept of the past: a bounded list per class (kind and severity), so that a flood of one class cannot evict
//! another. Pure.
//!
//! Within its class an event has an absolute index that never changes. A reader is a set of such indices
//! ([`Positions`]), one per class: what lies between a reader's index and the oldest one still held has been evicted
//! before it was read, and their difference is exactly how many.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::observation::{Kind, Severity};
use crate::pipeline::frame::Frame;

/// Classes: each kind in two severities.
pub const CLASSES: usize = Kind::ALL.len() * 2;

/// The class of an event.
pub const fn class_of(kind: Kind, severity: Severity) -> usize {
    // As Kind::ALL has them, which a test compares.
    match severity {
        Severity::Problem => kind as usize * 2,
        Severity::Info => kind as usize * 2 + 1,
    }
}

/// What class an index stands for.
pub const CLASS_NAMES: [(Kind, Severity); CLASSES] = {
    let mut names = [(Kind::Drop, Severity::Problem); CLASSES];
    let mut index = 0;
    while index < CLASSES {
        names[index] = (Kind::ALL[index / 2], if index % 2 == 0 { Severity::Problem } else { Severity::Info });
        index += 1;
    }
    names
};

/// Absolute index within each class of the event that is read next.
pub type Positions = [u64; CLASSES];

/// Bounds for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Problems kept per kind.
    pub problems: usize,
    /// Other events kept per kind.
    pub infos: usize,
    /// Bytes of memory that the problems of one kind may take.
    pub problem_bytes: usize,
    /// Bytes of memory that the other events of one kind may take.
    pub info_bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { problems: 10_000, infos: 2_000, problem_bytes: 6 << 20, info_bytes: 3 << 19 }
    }
}

/// How full a class is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSize {
    /// Events held.
    pub events: usize,
    /// Bytes of memory they take.
    pub bytes: usize,
    /// Events that were evicted to make room.
    pub evicted: u64,
    /// Events held at most.
    pub max_events: usize,
    /// Bytes of memory at most, but for a single event.
    pub max_bytes: usize,
}

#[derive(Debug, Default)]
struct Class {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// Events evicted, which is also the absolute index of the oldest one held.
    evicted: u64,
    /// Sequence number of the event evicted last; 0: none.
    evicted_seq: u64,
    max_events: usize,
    max_bytes: usize,
}

/// The events that are held.
#[derive(Debug)]
pub struct History {
    classes: [Class; CLASSES],
    last_seq: u64,
}

impl History {
    /// An empty history. Each class holds its newest event whatever the bounds say.
    pub fn new(limits: HistoryLimits) -> Self {
        let classes = CLASS_NAMES.map(|(_, severity)| {
            let (max_events, max_bytes) = match severity {
                Severity::Problem => (limits.problems, limits.problem_bytes),
                Severity::Info => (limits.infos, limits.info_bytes),
            };
            Class { max_events: max_events.max(1), max_bytes, ..Class::default() }
        });
        Self { classes, last_seq: 0 }
    }

    /// Adds an event, whose sequence number is above all before it, and returns what it evicted: frames are freed by
    /// the caller, outside any lock.
    pub fn push(&mut self, frame: Arc<Frame>) -> Vec<Arc<Frame>> {
        debug_assert!(frame.seq > self.last_seq, "sequence numbers ascend");
        self.last_seq = frame.seq;
        let class = &mut self.classes[class_of(frame.kind, frame.severity)];
        class.bytes += frame.weight();
        class.frames.push_back(frame);
        let mut evicted = Vec::new();
        while class.frames.len() > 1 && (class.frames.len() > class.max_events || class.bytes > class.max_bytes) {
            let Some(oldest) = class.frames.pop_front() else { break };
            class.bytes -= oldest.weight();
            class.evicted += 1;
            class.evicted_seq = oldest.seq;
            evicted.push(oldest);
        }
        evicted
    }

    /// Sequence number of the newest event; 0: none yet.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Where a reader stands who has read everything up to `seq`, and whether everything after it in `classes` is
    /// still held.
    pub fn position_after(&self, seq: u64, classes: [bool; CLASSES]) -> (Positions, bool) {
        let mut positions = Positions::default();
        let mut complete = true;
        for (index, class) in self.classes.iter().enumerate() {
            positions[index] = class.evicted + class.frames.partition_point(|frame| frame.seq <= seq) as u64;
            complete &= !classes[index] || class.evicted_seq <= seq;
        }
        (positions, complete)
    }

    /// The next event for a reader of `classes`, in ascending order, and how many it missed before that; moves the
    /// reader on.
    pub fn next(&self, positions: &mut Positions, classes: [bool; CLASSES]) -> (u64, Option<&Arc<Frame>>) {
        let mut missed = 0;
        let mut best: Option<(usize, &Arc<Frame>)> = None;
        for (index, class) in self.classes.iter().enumerate().filter(|(index, _)| classes[*index]) {
            missed += class.evicted.saturating_sub(positions[index]);
            positions[index] = positions[index].max(class.evicted);
            if let Some(frame) = class.at(positions[index])
                && best.is_none_or(|(_, chosen)| frame.seq < chosen.seq)
            {
                best = Some((index, frame));
            }
        }
        if let Some((index, _)) = best {
            positions[index] += 1;
        }
        (missed, best.map(|(_, frame)| frame))
    }

    /// The event before a reader's position, in descending order; moves the reader back.
    pub fn previous(&self, positions: &mut Positions, classes: [bool; CLASSES]) -> Option<&Arc<Frame>> {
        let (index, frame) = self
            .classes
            .iter()
            .enumerate()
            .filter(|(index, _)| classes[*index])
            .filter_map(|(index, class)| Some((index, class.at(positions[index].checked_sub(1)?)?)))
            .max_by_key(|(_, frame)| frame.seq)?;
        positions[index] -= 1;
        Some(frame)
    }

    /// How full each class is.
    pub fn sizes(&self) -> [ClassSize; CLASSES] {
        self.classes.each_ref().map(|class| ClassSize {
            events: class.frames.len(),
            bytes: class.bytes,
            evicted: class.evicted,
            max_events: class.max_events,
            max_bytes: class.max_bytes,
        })
    }
}

impl Class {
    fn at(&self, index: u64) -> Option<&Arc<Frame>> {
        self.frames.get(usize::try_from(index.checked_sub(self.evicted)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pipeline::samples;
    use jiff::Timestamp;
    use proptest::prelude::*;

    const ALL: [bool; CLASSES] = [true; CLASSES];

    fn frame(seq: u64, class: usize) -> Arc<Frame> {
        let observation = match class {
            0 => samples::drop("a", "b", "X"),
            class => samples::dns("a", "b", class == 2),
        };
        Arc::new(Frame::render(seq, Timestamp::UNIX_EPOCH, &observation, &mut Vec::new()).unwrap())
    }

    fn limits(problems: usize, infos: usize) -> HistoryLimits {
        HistoryLimits { problems, infos, ..HistoryLimits::default() }
    }

    fn forward(history: &History, mut positions: Positions, classes: [bool; CLASSES]) -> (u64, Vec<u64>) {
        let (mut missed, mut seqs) = (0, Vec::new());
        loop {
            let (more_missed, frame) = history.next(&mut positions, classes);
            missed += more_missed;
            let Some(frame) = frame else { return (missed, seqs) };
            seqs.push(frame.seq);
        }
    }

    #[test]
    fn each_class_has_its_name() {
        for (index, (kind, severity)) in CLASS_NAMES.into_iter().enumerate() {
            assert_eq!(class_of(kind, severity), index);
        }
    }

    #[test]
    fn a_flood_of_one_class_evicts_no_other() {
        let mut history = History::new(limits(3, 2));
        history.push(frame(1, 2));
        for seq in 2..100 {
            history.push(frame(seq, 0));
        }
        assert_eq!(forward(&history, [0; CLASSES], ALL), (95, vec![1, 97, 98, 99]));
        let size = history.sizes()[0];
        assert_eq!((size.events, size.max_events, size.evicted), (3, 3, 95));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let weight = frame(1, 0).weight();
        let mut history = History::new(HistoryLimits { problem_bytes: weight * 3, ..HistoryLimits::default() });
        for seq in 1..=10 {
            history.push(frame(seq, 0));
        }
        assert_eq!(history.sizes()[0].events, 3);
        assert!(history.sizes()[0].bytes <= weight * 3);
    }

    #[test]
    fn resuming_knows_whether_all_is_still_there() {
        let mut history = History::new(limits(2, 2));
        for seq in 1..=5 {
            history.push(frame(seq, 0));
        }
        history.push(frame(6, 2));
        assert!(!history.position_after(2, ALL).1);
        assert!(history.position_after(3, ALL).1);
        // Evicted drops are no gap for somebody who reads DNS only.
        assert!(history.position_after(0, Filter::dns().classes()).1);
    }

    use crate::pipeline::filter::Filter;
    impl Filter {
        fn dns() -> Self {
            Self { kinds: vec![Kind::Dns], ..Self::default() }
        }
    }

    proptest! {
        /// Whatever is pushed and wherever a reader stands: what it reads and what it is told it missed add up to
        /// what was pushed after it, in order, and backwards is the reverse of forwards.
        #[test]
        fn read_and_missed_add_up(
            classes in prop::collection::vec(prop::sample::select(vec![0_usize, 2, 3]), 0..60),
            problems in 1_usize..20, infos in 1_usize..20, selected: [bool; CLASSES], start in 0_usize..60,
        ) {
            let mut history = History::new(limits(problems, infos));
            let mut reader = Positions::default();
            let mut expected = 0;
            for (index, class) in classes.iter().enumerate() {
                if index == start {
                    reader = history.position_after(history.last_seq(), selected).0;
                    expected = 0;
                }
                history.push(frame(index as u64 + 1, *class));
                expected += u64::from(selected[*class]);
            }
            let (missed, seqs) = forward(&history, reader, selected);
            prop_assert_eq!(missed + seqs.len() as u64, expected);
            prop_assert!(seqs.is_sorted());

            let mut end = history.position_after(u64::MAX, selected).0;
            let mut backwards = Vec::new();
            while let Some(frame) = history.previous(&mut end, selected) {
                backwards.push(frame.seq);
            }
            backwards.reverse();
            let oldest = history.position_after(0, selected).0;
            prop_assert_eq!(backwards, forward(&history, oldest, selected).1);
        }
    }
}
