//! A table whose entries outlive their cause for a moment: the event of a pod that just went arrives after it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long an entry stays after it was last seen. Events reach the resolver within a second.
const GRACE: Duration = Duration::from_secs(10);

/// The table.
#[derive(Debug)]
pub(super) struct Lingering<K, V> {
    entries: HashMap<K, (V, Option<Instant>)>,
    bound: usize,
    left_out: u64,
}

impl<K: Eq + Hash + Copy, V: Clone> Lingering<K, V> {
    /// At most `bound` entries.
    pub(super) fn new(bound: usize) -> Self {
        Self { entries: HashMap::new(), bound, left_out: 0 }
    }

    /// What is there now. An entry that is seen again, or whose key means something else now, takes the new value.
    pub(super) fn replace(&mut self, now: Instant, fresh: impl IntoIterator<Item = (K, V)>) {
        for (_, gone) in self.entries.values_mut() {
            gone.get_or_insert(now);
        }
        for (key, value) in fresh {
            if self.entries.len() >= self.bound && !self.entries.contains_key(&key) {
                self.left_out += 1;
                continue;
            }
            self.entries.insert(key, (value, None));
        }
        self.entries.retain(|_, (_, gone)| gone.is_none_or(|since| now.duration_since(since) < GRACE));
    }

    /// All entries, lingering ones included.
    pub(super) fn all<C: FromIterator<(K, V)>>(&self) -> C {
        self.entries.iter().map(|(&key, (value, _))| (key, value.clone())).collect()
    }

    /// Entries that did not fit, since the start.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn entries_linger_and_are_replaced() {
        let start = Instant::now();
        let mut table = Lingering::new(2);
        table.replace(start, [(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(table.left_out(), 1);
        let later = start + Duration::from_secs(1);
        table.replace(later, [(2, "x")]);
        assert_eq!(table.all::<BTreeMap<_, _>>(), [(1, "a"), (2, "x")].into());
        table.replace(later + GRACE - Duration::from_millis(1), [(2, "x")]);
        assert_eq!(table.all::<BTreeMap<_, _>>().len(), 2);
        table.replace(later + GRACE, [(2, "x")]);
        assert_eq!(table.all::<BTreeMap<_, _>>(), [(2, "x")].into());
    }
}
