//! The loss ledger: what became of every record, counted where it happens.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use netobs_common::counters::{FamilyCounters, HookCounters, family, hook};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::pipeline::sums::LedgerView;

/// The kernel side's counters at one moment, summed over the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelSample {
    /// Indexed by [`hook`].
    pub hooks: [HookCounters; hook::COUNT],
    /// Indexed by [`family`].
    pub families: [FamilyCounters; family::COUNT],
    /// Records that wait in each family's ring; `None`: some do, and how many cannot be told.
    pub in_ring: [Option<u64>; family::COUNT],
    /// Runs of the netfilter programs.
    pub netfilter_runs: u64,
    /// Program runs that the kernel skipped because the program was already running on that CPU; `None`: unknown.
    pub recursion_misses: Option<u64>,
}

/// Who can read the kernel side's counters.
pub trait KernelCounters: Send + Sync {
    /// Reads them; an error is a sentence for the status page.
    fn sample(&self) -> Result<KernelSample, String>;
}

/// What became of a family's records in the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserLines {
    /// Records taken from the ring and understood.
    pub decoded: u64,
    /// Records that were not understood.
    pub undecodable: u64,
    /// Records that became an event.
    pub published: u64,
    /// Records that became part of an event that another record opened.
    pub folded: u64,
    /// Records dropped because a queue in the daemon was full.
    pub queue_full: u64,
    /// Records that wait for what completes them.
    pub pending: u64,
    /// Records that lost their place in the flow table before they were complete.
    pub evicted: u64,
    /// Events published for packets that the kernel side counted instead of recording. Not part of a sum of records.
    pub summaries: u64,
    /// Packets that those stand for.
    pub summarised_packets: u64,
}

#[derive(Debug, Default)]
struct Lines {
    decoded: AtomicU64,
    undecodable: AtomicU64,
    published: AtomicU64,
    folded: AtomicU64,
    queue_full: AtomicU64,
    pending: AtomicU64,
    evicted: AtomicU64,
    summaries: AtomicU64,
    summarised_packets: AtomicU64,
}

/// The daemon's side of the ledger, and the way to the kernel's. The family arguments are indices, see [`family`].
#[derive(Default)]
pub struct Ledger {
    families: [Lines; family::COUNT],
    last_undecodable: Mutex<Option<String>>,
    kernel: Mutex<Option<Arc<dyn KernelCounters>>>,
}

impl Ledger {
    /// All zero, without a kernel side.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where the kernel side's counters are, once the programs are loaded.
    pub fn set_kernel(&self, kernel: Arc<dyn KernelCounters>) {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) = Some(kernel);
    }

    /// A record was taken from the ring and understood.
    pub fn decoded(&self, family: usize) {
        self.families[family].decoded.fetch_add(1, Ordering::Relaxed);
    }

    /// A record was not understood.
    pub fn undecodable(&self, family: usize, error: &dyn fmt::Display) {
        // The first and then every power of two are kept: enough to see what is wrong, cheap in a storm of them.
        let before = self.families[family].undecodable.fetch_add(1, Ordering::Relaxed);
        if (before + 1).is_power_of_two() {
            *self.last_undecodable.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    /// A record became an event. [`crate::pipeline::Publisher`] does this.
    pub fn published(&self, family: usize) {
        self.families[family].published.fetch_add(1, Ordering::Relaxed);
    }

    /// Records became part of another's event.
    pub fn folded(&self, family: usize, records: u64) {
        self.families[family].folded.fetch_add(records, Ordering::Relaxed);
    }

    /// Records were dropped at a full queue.
    pub fn queue_full(&self, family: usize, records: u64) {
        self.families[family].queue_full.fetch_add(records, Ordering::Relaxed);
    }

    /// How many records wait for what completes them.
    pub fn set_pending(&self, family: usize, records: u64) {
        self.families[family].pending.store(records, Ordering::Relaxed);
    }

    /// Records lost their place before they were complete.
    pub fn evicted(&self, family: usize, records: u64) {
        self.families[family].evicted.fetch_add(records, Ordering::Relaxed);
    }

    /// A summary event was published. [`crate::pipeline::Publisher`] does this.
    pub fn summary(&self, family: usize, packets: u64) {
        self.families[family].summaries.fetch_add(1, Ordering::Relaxed);
        self.families[family].summarised_packets.fetch_add(packets, Ordering::Relaxed);
    }

    /// The daemon's lines of a family.
    pub fn user(&self, family: usize) -> UserLines {
        let lines = &self.families[family];
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UserLines {
            decoded: load(&lines.decoded),
            undecodable: load(&lines.undecodable),
            published: load(&lines.published),
            folded: load(&lines.folded),
            queue_full: load(&lines.queue_full),
            pending: load(&lines.pending),
            evicted: load(&lines.evicted),
            summaries: load(&lines.summaries),
            summarised_packets: load(&lines.summarised_packets),
        }
    }

    /// The whole ledger with its sums.
    ///
    /// The two sides cannot be read in one instant. Both are read, then both again: when nothing has changed in
    /// between, the sums are exact and the view says it is settled. Under load it is not, and the differences are what
    /// was on its way.
    pub fn view(&self) -> LedgerView {
        let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = || {
            let sample = kernel.as_ref().map(|kernel| kernel.sample());
            (sample, std::array::from_fn(|family| self.user(family)))
        };
        let mut before: (_, [UserLines; family::COUNT]) = read();
        let mut settled = false;
        for _ in 0..3 {
            let after = read();
            settled = before == after;
            before = after;
            if settled {
                break;
            }
        }
        let last_error = self.last_undecodable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LedgerView::new(before.0, &before.1, settled, last_error)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("families", &self.families).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Fixed(KernelSample);
    impl KernelCounters for Fixed {
        fn sample(&self) -> Result<KernelSample, String> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn a_ledger_that_balances_and_one_that_does_not() {
        let ledger = Ledger::new();
        let mut sample = KernelSample { in_ring: [Some(0); family::COUNT], ..Default::default() };
        sample.hooks[hook::KFREE_SKB] = HookCounters { runs: 11, not_network: 2, ..Default::default() };
        sample.families[family::DROP] =
            FamilyCounters { seen: 8, repeated: 1, submitted: 5, coalesced: 3, ..Default::default() };
        ledger.set_kernel(Arc::new(Fixed(sample)));
        for _ in 0..4 {
            ledger.decoded(family::DROP);
        }
        ledger.undecodable(family::DROP, &"short record");
        ledger.published(family::DROP);
        ledger.folded(family::DROP, 1);
        ledger.set_pending(family::DROP, 1);
        ledger.evicted(family::DROP, 1);
        let view = ledger.view();
        assert!(view.settled);
        assert!(view.balanced(), "{view:#?}");
        assert_eq!(view.last_undecodable.as_deref(), Some("short record"));

        ledger.decoded(family::DROP);
        let view = ledger.view();
        assert!(!view.balanced());
        let off: Vec<_> = view.families[0].sums.iter().filter(|sum| sum.balanced == Some(false)).collect();
        assert_eq!(off.len(), 2);
        assert_eq!(off.iter().map(|sum| sum.difference).collect::<Vec<_>>(), [-1, 1]);
    }
}
