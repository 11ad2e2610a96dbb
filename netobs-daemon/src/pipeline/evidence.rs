//! Which event a reference of the flow table became, for as long as another event may want to link to it.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

/// References remembered. An event links to what happened seconds before it, so this covers a storm of some
/// thousand events a second.
pub const CAPACITY: usize = 32_768;

/// A bounded map from references to sequence numbers that forgets the oldest.
#[derive(Debug)]
pub struct Evidence {
    seqs: HashMap<u64, u64, RandomState>,
    order: VecDeque<u64>,
    capacity: usize,
}

impl Evidence {
    /// A map of at most `capacity` references.
    pub fn new(capacity: usize) -> Self {
        Self { seqs: HashMap::default(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// Remembers that `reference` became event `seq`. The latest event of a reference counts.
    pub fn insert(&mut self, reference: u64, seq: u64) {
        if self.seqs.insert(reference, seq).is_some() {
            return;
        }
        self.order.push_back(reference);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.seqs.remove(&oldest);
        }
    }

    /// The event that `reference` became; `None` when there is none or it has been forgotten.
    pub fn get(&self, reference: u64) -> Option<u64> {
        self.seqs.get(&reference).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest() {
        let mut evidence = Evidence::new(2);
        for reference in 1..=3 {
            evidence.insert(reference, reference * 10);
        }
        evidence.insert(3, 31);
        assert_eq!([1, 2, 3].map(|reference| evidence.get(reference)), [None, Some(20), Some(31)]);
        assert_eq!(evidence.seqs.len(), evidence.order.len());
    }
}
