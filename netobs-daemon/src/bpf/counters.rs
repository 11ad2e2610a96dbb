//! The kernel side of the loss ledger, summed over CPUs.

use aya::maps::{MapData, PerCpuArray};
use aya::util::nr_cpus;
use netobs_common::counters::{Counters, FamilyCounters, HookCounters};
use netobs_common::names;
use netobs_common::trail::CpuState;

use super::load::{LoadError, Loaded};

#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Value(CpuState);

// SAFETY: CpuState is repr(C), all integers, without implicit padding (asserted in netobs-common).
unsafe impl aya::Pod for Value {}

/// Reads the per-CPU counters.
pub struct CounterMap(PerCpuArray<MapData, Value>);

impl CounterMap {
    /// Takes the map out of the loaded object.
    pub fn take(loaded: &mut Loaded) -> Result<Self, LoadError> {
        Ok(Self(PerCpuArray::try_from(loaded.take(names::CPU_STATE)?)?))
    }

    /// Sums over all CPUs, now.
    pub fn read(&self) -> Result<Counters, aya::maps::MapError> {
        let mut sum = Counters::default();
        for Value(state) in self.0.get(&0, 0)?.iter() {
            sum.netfilter_runs += state.counters.netfilter_runs;
            for (sum, hook) in sum.hooks.iter_mut().zip(&state.counters.hooks) {
                let HookCounters { runs, not_network, no_interest, out_of_scope } = hook;
                sum.runs += runs;
                sum.not_network += not_network;
                sum.no_interest += no_interest;
                sum.out_of_scope += out_of_scope;
            }
            for (sum, family) in sum.families.iter_mut().zip(&state.counters.families) {
                add(sum, family);
            }
        }
        Ok(sum)
    }
}

fn add(sum: &mut FamilyCounters, other: &FamilyCounters) {
    let FamilyCounters { seen, repeated, submitted, coalesced, ring_full, unparsed, withheld, coalesced_unkeyed } =
        other;
    sum.seen += seen;
    sum.repeated += repeated;
    sum.submitted += submitted;
    sum.coalesced += coalesced;
    sum.ring_full += ring_full;
    sum.unparsed += unparsed;
    sum.withheld += withheld;
    sum.coalesced_unkeyed += coalesced_unkeyed;
}

/// CPUs that per-CPU maps have values for.
pub fn cpus() -> usize {
    nr_cpus().unwrap_or(1)
}
