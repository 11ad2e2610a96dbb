//! Decisions of the API server, kept for a while. Pure: the clock is handed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::authorize::Verdict;

/// SHA-256 of a token: the tokens themselves are not kept.
pub(super) type Key = [u8; 32];

/// How many decisions are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Decisions.
    pub entries: usize,
    /// For that who was allowed is allowed still.
    pub allowed: Duration,
    /// For that who was refused is refused still.
    pub denied: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 256, allowed: Duration::from_mins(1), denied: Duration::from_secs(10) }
    }
}

/// The decisions.
#[derive(Debug)]
pub(super) struct Cache {
    limits: CacheLimits,
    entries: HashMap<Key, (Verdict, Instant)>,
}

impl Cache {
    pub(super) fn new(limits: CacheLimits) -> Self {
        Self { limits, entries: HashMap::new() }
    }

    /// What was decided, if that still holds.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Verdict> {
        self.entries.get(key).filter(|(_, until)| now < *until).map(|(verdict, _)| *verdict)
    }

    /// Keeps a decision. Where there is no room, the refusal that ends soonest goes, and only without any refusal a
    /// permission: whoever tries many tokens does not push out who has a good one.
    pub(super) fn put(&mut self, key: Key, verdict: Verdict, now: Instant) {
        let holds = if verdict == Verdict::Allowed { self.limits.allowed } else { self.limits.denied };
        if !self.entries.contains_key(&key) && self.entries.len() >= self.limits.entries {
            self.entries.retain(|_, (_, until)| now < *until);
        }
        if !self.entries.contains_key(&key) && self.entries.len() >= self.limits.entries {
            let ends_first =
                self.entries.iter().min_by_key(|(_, (verdict, until))| (*verdict == Verdict::Allowed, *until));
            if let Some(oldest) = ends_first.map(|(key, _)| *key) {
                self.entries.remove(&oldest);
            }
        }
        self.entries.insert(key, (verdict, now + holds));
    }

    /// How many are kept.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn cache(entries: usize) -> (Cache, Instant) {
        (Cache::new(CacheLimits { entries, ..CacheLimits::default() }), Instant::now())
    }

    #[test]
    fn decisions_hold_for_their_time() {
        let (mut cache, now) = cache(8);
        for (key, verdict, holds) in
            [(1, Verdict::Allowed, 60), (2, Verdict::Forbidden, 10), (3, Verdict::Unauthenticated, 10)]
        {
            cache.put([key; 32], verdict, now);
            assert_eq!(cache.get(&[key; 32], now + S * (holds - 1)), Some(verdict));
            assert_eq!(cache.get(&[key; 32], now + S * holds), None);
        }
        assert_eq!(cache.get(&[9; 32], now), None);
        // A later decision is the one that counts.
        cache.put([1; 32], Verdict::Forbidden, now);
        assert_eq!(cache.get(&[1; 32], now), Some(Verdict::Forbidden));
    }

    #[test]
    fn many_bad_tokens_do_not_push_out_a_good_one() {
        let (mut cache, now) = cache(4);
        cache.put([0; 32], Verdict::Allowed, now);
        for key in 1..200 {
            cache.put([key; 32], Verdict::Unauthenticated, now + S);
            assert!(cache.len() <= 4);
        }
        assert_eq!(cache.get(&[0; 32], now + S), Some(Verdict::Allowed));
        assert_eq!(cache.get(&[199; 32], now + S), Some(Verdict::Unauthenticated));
        for key in 200..=205 {
            cache.put([key; 32], Verdict::Allowed, now + S * 2);
        }
        assert_eq!((cache.len(), cache.get(&[205; 32], now + S * 2)), (4, Some(Verdict::Allowed)));
    }
}
