//! What waits a moment for its other half, by when its time is up; bounded.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use super::Map;

/// How long the parts of one event are waited for: 10 ms. The kernel makes them within microseconds of each other, but puts
/// them into different rings, which are read in turn; and the two ends of a veth pair may be served by different CPUs.
pub const HOLD_NS: u64 = 10_000_000;

/// How long the fragments of one packet are waited for: 100 ms. A timer gives them up, seconds after they came
/// (`ip_expire()`, `ip6_frag_expire_frag_queue()`), one by one; on a busy node it is interrupted between them.
pub const FRAGMENTS_HOLD_NS: u64 = 100_000_000;

/// Whether two records may be of one event, by their times.
pub fn close(one_ns: u64, other_ns: u64) -> bool {
    one_ns.abs_diff(other_ns) <= HOLD_NS
}

/// What waits. Numbers ascend in the order of insertion.
#[derive(Debug)]
pub struct Held<T> {
    entries: Map<u64, (u64, T)>,
    deadlines: BTreeSet<(u64, u64)>,
    next: u64,
    limit: usize,
    hold_ns: u64,
}

impl<T> Held<T> {
    /// Room for `limit`, each for [`HOLD_NS`].
    pub fn new(limit: usize) -> Self {
        Self::holding(limit, HOLD_NS)
    }

    /// Room for `limit`, each for `hold_ns` nanoseconds.
    pub fn holding(limit: usize, hold_ns: u64) -> Self {
        Self { entries: Map::default(), deadlines: BTreeSet::new(), next: 0, limit: limit.max(1), hold_ns }
    }

    /// Whether what has waited longest has to give way before something is inserted.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    /// Lets something wait from a time on.
    pub fn insert(&mut self, boot_ns: u64, value: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.put_back(number, boot_ns, value);
        number
    }

    /// Lets what was taken out wait on, under the number that it had.
    pub fn put_back(&mut self, number: u64, boot_ns: u64, value: T) {
        let deadline = boot_ns.saturating_add(self.hold_ns);
        self.deadlines.insert((deadline, number));
        self.entries.insert(number, (deadline, value));
    }

    /// What waits under a number.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.entries.get(&number).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entries.get_mut(&number).map(|(_, value)| value)
    }

    /// Ends the waiting of one.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let (deadline, value) = self.entries.remove(&number)?;
        self.deadlines.remove(&(deadline, number));
        Some(value)
    }

    /// Ends the waiting of the next whose time is up by then.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<(u64, T)> {
        let (_, number) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now_ns)?;
        self.remove(number).map(|value| (number, value))
    }

    /// When the time of the next is up, `CLOCK_BOOTTIME` nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

/// Numbers by a key, oldest first.
#[derive(Debug)]
pub struct Index<K>(Map<K, VecDeque<u64>>);

/// Of the entries under one key, how many are looked at. More than some are there only when packets were made for it.
const LOOKED_AT: usize = 64;

impl<K: Hash + Eq> Index<K> {
    /// Empty.
    pub fn new() -> Self {
        Self(Map::default())
    }

    /// Adds a number under a key.
    pub fn insert(&mut self, key: K, number: u64) {
        self.0.entry(key).or_default().push_back(number);
    }

    /// Removes it.
    pub fn remove(&mut self, key: &K, number: u64) {
        if let Some(numbers) = self.0.get_mut(key) {
            if let Some(at) = numbers.iter().position(|known| *known == number) {
                numbers.remove(at);
            }
            if numbers.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Numbers under a key, oldest first.
    pub fn get(&self, key: &K) -> impl Iterator<Item = u64> {
        self.0.get(key).into_iter().flatten().copied().take(LOOKED_AT)
    }

    /// Whether nothing is there.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_of_deadlines() {
        let mut held = Held::new(2);
        let (one, two) = (held.insert(20, 'a'), held.insert(10, 'b'));
        assert!(held.is_full());
        assert_eq!(held.next_deadline(), Some(10 + HOLD_NS));
        assert_eq!(held.pop_due(9 + HOLD_NS), None);
        assert_eq!(held.pop_due(10 + HOLD_NS), Some((two, 'b')));
        assert_eq!(held.get(one), Some(&'a'));
        assert_eq!((held.remove(one), held.remove(one)), (Some('a'), None));
        assert_eq!(held.next_deadline(), None);
    }

    #[test]
    fn an_index_keeps_the_order_and_nothing_else() {
        let mut index = Index::new();
        for number in [3, 5, 9] {
            index.insert('k', number);
        }
        index.remove(&'k', 5);
        index.remove(&'k', 77);
        assert_eq!(index.get(&'k').collect::<Vec<_>>(), [3, 9]);
        index.remove(&'k', 3);
        index.remove(&'k', 9);
        assert!(index.is_empty());
    }
}
