//! Which drops were told, by flow: what a question without an answer may rest on, and a reset that a rule made.

use std::collections::VecDeque;
use std::hash::Hash;

use super::Map;

/// References that are kept of one flow, and that one event names; a flow of which more packets were dropped keeps
/// its newest.
pub const PER_FLOW: usize = 8;

/// References of told drops, with their times, in order.
#[derive(Debug)]
pub struct DropReferences<K, V = u64> {
    flows: Map<K, VecDeque<(u64, V)>>,
    /// Every entry of `flows`, oldest first.
    order: VecDeque<(u64, K, V)>,
    limit: usize,
    evicted: u64,
}

impl<K: Hash + Eq + Copy, V: Eq + Copy> DropReferences<K, V> {
    /// Keeps at most `limit` references.
    pub fn new(limit: usize) -> Self {
        Self { flows: Map::default(), order: VecDeque::new(), limit: limit.max(1), evicted: 0 }
    }

    /// References forgotten before their time because there was no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Remembers that the drop told as `reference` was one of this flow.
    pub fn insert(&mut self, flow: K, boot_ns: u64, reference: V) {
        while self.order.len() >= self.limit {
            self.evicted += u64::from(self.pop());
        }
        let of_flow = self.flows.entry(flow).or_default();
        of_flow.push_back((boot_ns, reference));
        if of_flow.len() > PER_FLOW {
            of_flow.pop_front();
            self.evicted += 1;
        }
        self.order.push_back((boot_ns, flow, reference));
    }

    /// Drops of this flow told since a time, oldest first.
    pub fn since<'a>(&'a self, flow: &K, boot_ns: u64) -> impl Iterator<Item = V> + use<'a, K, V> {
        let of_flow = self.flows.get(flow).into_iter().flatten();
        of_flow.filter(move |(at, _)| *at >= boot_ns).map(|(_, reference)| *reference)
    }

    /// Forgets drops from before a time.
    pub fn purge(&mut self, before_ns: u64) {
        while self.order.front().is_some_and(|(at, ..)| *at < before_ns) {
            self.pop();
        }
    }

    /// Forgets the oldest entry; true if it was still there.
    fn pop(&mut self) -> bool {
        let Some((_, flow, reference)) = self.order.pop_front() else { return false };
        let Some(of_flow) = self.flows.get_mut(&flow) else { return false };
        let there = of_flow.front().is_some_and(|(_, oldest)| *oldest == reference);
        if there {
            of_flow.pop_front();
        }
        if of_flow.is_empty() {
            self.flows.remove(&flow);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::key::FlowKey;

    fn flow(port: u16) -> FlowKey {
        FlowKey::new(None, 17, ([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], 53).into())
    }

    fn since(references: &DropReferences<FlowKey>, port: u16, boot_ns: u64) -> Vec<u64> {
        references.since(&flow(port), boot_ns).collect()
    }

    #[test]
    fn by_flow_and_time() {
        let mut references = DropReferences::new(10);
        references.insert(flow(1), 100, 1);
        references.insert(flow(2), 110, 2);
        references.insert(flow(1), 120, 3);
        assert_eq!(since(&references, 1, 0), [1, 3]);
        assert_eq!(since(&references, 1, 101), [3]);
        references.purge(111);
        assert_eq!((since(&references, 1, 0), since(&references, 2, 0)), (vec![3], vec![]));
        assert_eq!((references.flows.len(), references.order.len()), (1, 1));
    }

    #[test]
    fn bounded_in_all_and_by_flow() {
        let mut references = DropReferences::new(20);
        for n in 0..1000 {
            references.insert(flow(1), n, n);
        }
        assert_eq!(since(&references, 1, 0), (992..1000).collect::<Vec<_>>());
        assert!(references.order.len() <= 20);
        assert!(references.evicted() >= 980);
        for n in 1000..1100 {
            references.insert(flow(u16::try_from(n).unwrap_or_default()), n, n);
        }
        assert_eq!(references.flows.len(), 20);
        references.purge(u64::MAX);
        assert!(references.flows.is_empty() && references.order.is_empty());
    }
}
