//! The ledger as it is shown: each line, and for each sum whether it holds. Pure.

use netobs_common::counters::{FamilyCounters, HookCounters, family, hook};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::pipeline::ledger::{KernelSample, UserLines};

/// Names of the families, in the order of [`family`].
pub const FAMILIES: [&str; family::COUNT] = ["drop", "dns", "mtu", "reset", "socket"];

/// Names of the hooks, in the order of [`hook`], each with the families that its programs make records for.
pub const HOOKS: [(&str, &[usize]); hook::COUNT] = [
    ("tcx", &[family::DNS, family::MTU, family::RESET]),
    ("kfree_skb", &[family::DROP]),
    ("tcp_reset", &[family::SOCKET]),
];

/// The whole ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Two readings in a row were equal, so the sums are exact. When `false`, packets were on their way while the
    /// counters were read, and a small difference means nothing.
    pub settled: bool,
    /// Per hook; empty: unknown.
    pub hooks: Vec<HookLedger>,
    /// Per family.
    pub families: Vec<FamilyLedger>,
    /// Program runs that the kernel skipped because the program was already running on that CPU; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursion_misses: Option<u64>,
    /// Runs of the netfilter programs; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netfilter_runs: Option<u64>,
    /// Why the kernel side is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_unknown: Option<String>,
    /// A recent reason why a record was not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_undecodable: Option<String>,
}

/// One hook's lines and sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookLedger {
    /// `tcx` (also where clsact is used instead), `kfree_skb`, or `tcp_reset` (`tcp:tcp_send_reset` and
    /// `tcp:tcp_receive_reset`).
    pub hook: String,
    /// Runs of the programs.
    pub runs: u64,
    /// Runs for something that is no IP packet, or for one whose headers could not be read.
    pub not_network: u64,
    /// Runs for a packet that no family looks at.
    pub no_interest: u64,
    /// Runs in a network namespace that is not observed.
    pub out_of_scope: u64,
    /// The sum that has to hold.
    pub sums: Vec<Sum>,
}

/// One family's lines and sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FamilyLedger {
    /// `drop`, `dns`, `mtu`, `reset`, or `socket`: what sockets say of resets.
    pub family: String,
    /// Lines of the kernel side; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelLines>,
    /// Lines of the daemon.
    pub daemon: UserLines,
    /// The sums that have to hold.
    pub sums: Vec<Sum>,
}

/// What became of a family's packets in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KernelLines {
    /// Packets of interest.
    pub seen: u64,
    /// Further sights of a packet at later hooks, with nothing more to tell.
    pub repeated: u64,
    /// Records put into the ring.
    pub submitted: u64,
    /// Packets counted instead of recorded.
    pub coalesced: u64,
    /// Of those, packets for which the table of counts had no room.
    pub coalesced_unkeyed: u64,
    /// Packets lost because the ring was full.
    pub ring_full: u64,
    /// Packets whose headers did not parse.
    pub unparsed: u64,
    /// Evidence beyond its budget, about packets that are counted elsewhere.
    pub withheld: u64,
    /// Records that wait in the ring; absent: some do, and how many cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_ring: Option<u64>,
}

/// A sum that has to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sum {
    /// In words.
    pub formula: String,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
    /// Left minus right.
    pub difference: i64,
    /// Whether they are equal; absent: a term is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balanced: Option<bool>,
}

impl LedgerView {
    /// Puts the two sides together; `kernel` is `None` while no programs are loaded.
    pub fn new(
        kernel: Option<Result<KernelSample, String>>,
        user: &[UserLines; family::COUNT],
        settled: bool,
        last_undecodable: Option<String>,
    ) -> Self {
        let (kernel, kernel_unknown) = match kernel {
            Some(Ok(sample)) => (Some(sample), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, Some("no kernel programs are loaded".to_owned())),
        };
        let families = FAMILIES
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let lines = kernel.as_ref().map(|kernel| lines(&kernel.families[index], kernel.in_ring[index]));
                FamilyLedger {
                    family: (*name).to_owned(),
                    kernel: lines,
                    daemon: user[index],
                    sums: sums(lines.as_ref(), &user[index]),
                }
            })
            .collect();
        let hooks = kernel.iter().flat_map(hooks).collect();
        Self {
            settled,
            hooks,
            families,
            recursion_misses: kernel.as_ref().and_then(|kernel| kernel.recursion_misses),
            netfilter_runs: kernel.as_ref().map(|kernel| kernel.netfilter_runs),
            kernel_unknown,
            last_undecodable,
        }
    }

    /// Whether every sum whose terms are known holds.
    pub fn balanced(&self) -> bool {
        let hooks = self.hooks.iter().flat_map(|hook| &hook.sums);
        hooks.chain(self.families.iter().flat_map(|family| &family.sums)).all(|sum| sum.balanced != Some(false))
    }
}

const fn lines(counters: &FamilyCounters, in_ring: Option<u64>) -> KernelLines {
    KernelLines {
        seen: counters.seen,
        repeated: counters.repeated,
        submitted: counters.submitted,
        coalesced: counters.coalesced,
        coalesced_unkeyed: counters.coalesced_unkeyed,
        ring_full: counters.ring_full,
        unparsed: counters.unparsed,
        withheld: counters.withheld,
        in_ring,
    }
}

/// Lines and sum of each hook.
fn hooks(kernel: &KernelSample) -> impl Iterator<Item = HookLedger> {
    std::iter::zip(HOOKS, kernel.hooks).map(|((name, families), counters)| {
        let HookCounters { runs, not_network, no_interest, out_of_scope } = counters;
        let mut terms = vec![Some(not_network), Some(no_interest), Some(out_of_scope)];
        for family in families {
            let family = &kernel.families[*family];
            terms.extend([Some(family.seen), Some(family.repeated)]);
        }
        let of = families.iter().map(|family| FAMILIES[*family]).collect::<Vec<_>>().join(", ");
        let formula = format!("runs = not_network + no_interest + out_of_scope + (seen + repeated) of {of}");
        let sums = vec![sum(&formula, runs, &terms)];
        HookLedger { hook: name.to_owned(), runs, not_network, no_interest, out_of_scope, sums }
    })
}

fn sums(kernel: Option<&KernelLines>, user: &UserLines) -> Vec<Sum> {
    let mut sums = Vec::with_capacity(4);
    if let Some(k) = kernel {
        sums.push(sum(
            "seen = submitted + coalesced + ring_full + unparsed + withheld",
            k.seen,
            &[k.submitted, k.coalesced, k.ring_full, k.unparsed, k.withheld].map(Some),
        ));
        sums.push(sum(
            "submitted = decoded + undecodable + in_ring",
            k.submitted,
            &[Some(user.decoded), Some(user.undecodable), k.in_ring],
        ));
    }
    sums.push(sum(
        "decoded = published + folded + queue_full + pending + evicted",
        user.decoded,
        &[user.published, user.folded, user.queue_full, user.pending, user.evicted].map(Some),
    ));
    sums
}

/// Exact: added in 128 bits, and clamped only for display.
fn sum(formula: &str, left: u64, terms: &[Option<u64>]) -> Sum {
    let right: u128 = terms.iter().flatten().map(|term| u128::from(*term)).sum();
    // Six terms of 64 bits are far from the sign bit of 128.
    let difference = i128::from(left) - right.cast_signed();
    let clamped = difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Sum {
        formula: formula.to_owned(),
        left,
        right: u64::try_from(right).unwrap_or(u64::MAX),
        difference: i64::try_from(clamped).unwrap_or(0),
        balanced: terms.iter().all(Option::is_some).then_some(difference == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_unknown_term_gives_no_verdict() {
        assert_eq!(sum("a = b + c", 3, &[Some(3), None]).balanced, None);
        assert_eq!(sum("a = b + c", 3, &[Some(3), Some(0)]).balanced, Some(true));
    }

    #[test]
    fn without_a_kernel_side_it_says_so() {
        let view = LedgerView::new(None, &Default::default(), true, None);
        assert_eq!(view.kernel_unknown.as_deref(), Some("no kernel programs are loaded"));
        assert!(view.families.iter().all(|family| family.kernel.is_none() && family.sums.len() == 1));
        let view = LedgerView::new(Some(Err("EPERM".into())), &Default::default(), true, None);
        assert_eq!(view.kernel_unknown.as_deref(), Some("EPERM"));
    }

    proptest! {
        #[test]
        fn balanced_means_equal(left: u64, terms in prop::collection::vec(any::<u64>(), 0..6)) {
            let exact: u128 = terms.iter().map(|term| u128::from(*term)).sum();
            let terms: Vec<_> = terms.into_iter().map(Some).collect();
            let shown = sum("", left, &terms);
            prop_assert_eq!(shown.balanced, Some(u128::from(left) == exact));
            prop_assert_eq!(shown.difference == 0, u128::from(left) == exact);
        }

        #[test]
        fn off_by_any_amount_is_seen(terms: [u32; 4], off in -1000_i64..1000) {
            let right: u64 = terms.iter().map(|term| u64::from(*term)).sum();
            let Some(left) = right.checked_add_signed(off) else { return Ok(()) };
            prop_assert_eq!(sum("", left, &terms.map(|term| Some(u64::from(term)))).difference, off);
        }
    }
}
