//! Packets and DNS exchanges that published events stand for, by what Prometheus users alert on: drop reason, outcome,
//! response code, latency.
//!
//! All of it is bounded: outcomes and response codes by their types, reasons by [`MAX_REASONS`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::histogram::Histogram;

use crate::event::dns_names::{rcode, rcode_number};
use crate::event::observation::{DnsDetail, DnsOutcome, Observation};
use crate::pipeline::history::{CLASSES, class_of};

/// Reasons counted by name. The kernel's enum has some 120, but numbers that it has no name for are reasons, too.
pub const MAX_REASONS: usize = 256;
/// Response codes that fit the header: 4 bits (RFC 1035 section 4.1.1).
pub const RCODES: usize = 16;
/// All outcomes, in the order in which they are counted.
pub const OUTCOMES: [DnsOutcome; 6] = [
    DnsOutcome::Answered,
    DnsOutcome::Empty,
    DnsOutcome::Failed,
    DnsOutcome::Truncated,
    DnsOutcome::Unanswered,
    DnsOutcome::Unasked,
];
/// Upper bounds of the latency's buckets, seconds: from an answer out of a cache on this node (below 1 ms) to the time-out
/// of the C library's resolver (5 s, `resolv.conf(5)`).
const LATENCY: [f64; 13] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The counters.
#[derive(Debug)]
pub struct Tally {
    packets: [AtomicU64; CLASSES],
    reasons: Mutex<Reasons>,
    outcomes: [AtomicU64; OUTCOMES.len()],
    rcodes: [AtomicU64; RCODES],
    latency: Histogram,
}

/// Dropped packets by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// By the kernel's name of the reason; at most [`MAX_REASONS`].
    pub named: BTreeMap<Box<str>, u64>,
    /// Packets of reasons that came when there were that many.
    pub other: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            packets: Default::default(),
            reasons: Mutex::default(),
            outcomes: Default::default(),
            rcodes: Default::default(),
            latency: Histogram::new(LATENCY),
        }
    }
}

impl Tally {
    /// Counts an event that was published.
    pub fn count(&self, event: &Observation) {
        add(&self.packets[class_of(event.kind, event.severity)], event.count);
        if let Some(drop) = &event.drop {
            self.lock().add(&drop.reason, event.count);
        }
        if let Some(dns) = &event.dns {
            self.exchange(dns);
        }
    }

    fn exchange(&self, dns: &DnsDetail) {
        if let Some(outcome) = OUTCOMES.iter().position(|one| *one == dns.outcome) {
            add(&self.outcomes[outcome], 1);
        }
        let code = dns.rcode.as_deref().and_then(rcode_number);
        if let Some(count) = code.and_then(|code| self.rcodes.get(usize::from(code))) {
            add(count, 1);
        }
        if let Some(milliseconds) = dns.latency_ms {
            self.latency.observe(milliseconds / 1e3);
        }
    }

    /// Packets per class, see [`class_of`].
    pub fn packets(&self) -> [u64; CLASSES] {
        self.packets.each_ref().map(load)
    }

    /// Dropped packets by reason.
    pub fn reasons(&self) -> Reasons {
        self.lock().clone()
    }

    /// DNS exchanges by outcome.
    pub fn outcomes(&self) -> [(DnsOutcome, u64); OUTCOMES.len()] {
        std::array::from_fn(|index| (OUTCOMES[index], load(&self.outcomes[index])))
    }

    /// DNS answers by response code: those that RFC 1035 names, and others that were seen.
    pub fn rcodes(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = (0..).zip(&self.rcodes).map(|(code, count): (u8, _)| (code, load(count)));
        counts.filter(|(code, count)| *code <= 5 || *count > 0).map(|(code, count)| (rcode(code).into_owned(), count))
    }

    /// From question to answer, seconds.
    pub const fn latency(&self) -> &Histogram {
        &self.latency
    }

    fn lock(&self) -> MutexGuard<'_, Reasons> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reasons {
    fn add(&mut self, reason: &str, packets: u64) {
        let count = if let Some(count) = self.named.get_mut(reason) {
            count
        } else if self.named.len() < MAX_REASONS {
            self.named.entry(reason.into()).or_default()
        } else {
            &mut self.other
        };
        *count = count.saturating_add(packets);
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::samples;

    #[test]
    fn packets_not_events() {
        let tally = Tally::default();
        tally.count(&samples::drop("shop", "cart", "NO_SOCKET"));
        let summary = Observation { coalesced: true, count: 500, ..samples::drop("shop", "cart", "NO_SOCKET") };
        tally.count(&summary);
        assert_eq!(tally.packets()[0], 501);
        assert_eq!(tally.reasons().named.get("NO_SOCKET"), Some(&501));
    }

    #[test]
    fn reasons_are_bounded_and_none_is_lost() {
        let tally = Tally::default();
        for number in 0..MAX_REASONS + 9 {
            tally.count(&samples::drop("shop", "cart", &format!("REASON_{number}")));
        }
        tally.count(&samples::drop("shop", "cart", "REASON_0"));
        let reasons = tally.reasons();
        assert_eq!((reasons.named.len(), reasons.other), (MAX_REASONS, 9));
        assert_eq!(reasons.named.get("REASON_0"), Some(&2));
    }

    #[test]
    fn exchanges_by_outcome_and_code() {
        let tally = Tally::default();
        tally.count(&samples::dns("shop", "cart", true));
        tally.count(&samples::dns("shop", "cart", false));
        let mut odd = samples::dns("shop", "cart", true);
        if let Some(dns) = &mut odd.dns {
            (dns.rcode, dns.latency_ms) = (Some("RCODE12".into()), None);
        }
        tally.count(&odd);
        let outcomes = tally.outcomes();
        assert_eq!((outcomes[0], outcomes[2]), ((DnsOutcome::Answered, 1), (DnsOutcome::Failed, 2)));
        let seen: Vec<_> = tally.rcodes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [("NOERROR".into(), 1), ("NXDOMAIN".into(), 1), ("RCODE12".into(), 1)]);
        assert_eq!(tally.rcodes().count(), 7);
    }
}
