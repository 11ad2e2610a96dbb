//! The budget: what each consumer may take at the most, with its defaults, and what it took.

use super::State;
use crate::bench::proc;
use crate::bench::table::{self, mib};
use crate::bench::verdict::Verdicts;

const MIB: u64 = 1 << 20;
/// All of the daemon's resident memory. The rings' mappings are the maps' memory, which is counted below.
const RESIDENT: u64 = 40 * 1_000_000;
/// Resident memory and BPF maps together, what the container's limit has to hold.
const TOTAL: u64 = 128 * MIB;

/// BPF maps by type number of `enum bpf_map_type` (include/uapi/linux/bpf.h): consumer, budget.
const MAPS: [(&str, &[u32], u64); 3] = [
    // Two rings of 2 MiB, one of 1, two of 256 KiB; the kernel adds positions and a table of pages.
    ("rings of records", &[27], 7 * MIB),
    // 8,192 keys with their counts; 16,384 connections with their openers.
    ("coalescing buckets, connections", &[1, 5, 9, 10], 7 * MIB),
    // Counters and trails per CPU, flags, constants, scope.
    ("arrays: counters, trails, constants", &[2, 6, 11], 7 * MIB),
];

/// Prints the budget table for the largest of the states in each line, and judges the sums.
pub fn judge(states: &[State], verdicts: &mut Verdicts) {
    let largest = |of: &dyn Fn(&State) -> u64| states.iter().map(of).max().unwrap_or(0);
    let part = |name| largest(&|state: &State| state.memory.part(name));
    let resident = |state: &State| state.memory.rss - state.memory.part(proc::MAPPED_MAPS);
    let maps = |state: &State| state.maps.values().sum::<u64>();
    let mut lines = vec![
        ("program text and data", 10 * MIB, part(proc::PROGRAM)),
        ("shared libraries", 3 * MIB, part(proc::LIBRARIES)),
        ("heap: names, history, flow table, symbols, stacks", 25 * MIB, part(proc::HEAP)),
        ("resident memory", RESIDENT, largest(&resident)),
    ];
    let mut listed = 0;
    for (name, kinds, budget) in MAPS {
        let bytes = largest(&|state: &State| kinds.iter().filter_map(|kind| state.maps.get(kind)).sum());
        listed += bytes;
        lines.push((name, budget, bytes));
    }
    lines.push(("other BPF maps", MIB, largest(&maps).saturating_sub(listed)));
    lines.push(("resident memory and BPF maps", TOTAL, largest(&|state: &State| resident(state) + maps(state))));
    let rows: Vec<_> = lines
        .iter()
        .map(|(name, budget, bytes)| {
            let within = if bytes <= budget { "yes" } else { "no" };
            vec![(*name).to_owned(), mib(*budget), mib(*bytes), within.to_owned()]
        })
        .collect();
    table::print(
        "Memory budget, MiB: the most that any of these states took",
        &["consumer", "budget", "took", "within"],
        &rows,
    );
    let ratio = |bytes: u64, budget: u64| bytes as f64 / budget as f64;
    verdicts.at_most("memory.resident", ratio(largest(&resident), RESIDENT), 1.0);
    verdicts.at_most("memory.total", ratio(largest(&|state: &State| resident(state) + maps(state)), TOTAL), 1.0);
}
