//! The ledger as it is shown: each line, and for each sum whether it holds. Pure.

use netobs_common::counters::{FamilyCounters, family};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::pipeline::ledger::{KernelSample, UserLines};

/// Names of the families, in the order of [`family`].
pub const FAMILIES: [&str; family::COUNT] = ["drop", "dns"];

/// The whole ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerView {
    /// Two readings in a row were equal, so the sums are exact. When `false`, packets were on their way while the
    /// counters were read, and a small difference means nothing.
    pub settled: bool,
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

/// One family's lines and sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FamilyLedger {
    /// `drop` or `dns`.
    pub family: String,
    /// Lines of the kernel side; absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelLines>,
    /// Lines of the daemon.
    pub daemon: UserLines,
    /// The sums that have to hold.
    pub sums: Vec<Sum>,
}

/// What became of a family's program runs in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KernelLines {
    /// Runs of the programs.
    pub runs: u64,
    /// Runs for something that is no IP packet.
    pub not_network: u64,
    /// Runs for a packet that this family does not look at.
    pub no_interest: u64,
    /// Runs for a packet of which a record was made at an earlier hook.
    pub repeated: u64,
    /// Runs in a network namespace that is not observed.
    pub out_of_scope: u64,
    /// Packets of interest.
    pub seen: u64,
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
        Self {
            settled,
            families,
            recursion_misses: kernel.as_ref().and_then(|kernel| kernel.recursion_misses),
            netfilter_runs: kernel.as_ref().map(|kernel| kernel.netfilter_runs),
            kernel_unknown,
            last_undecodable,
        }
    }

    /// Whether every sum whose terms are known holds.
    pub fn balanced(&self) -> bool {
        self.families.iter().flat_map(|family| &family.sums).all(|sum| sum.balanced != Some(false))
    }
}

const fn lines(counters: &FamilyCounters, in_ring: Option<u64>) -> KernelLines {
    KernelLines {
        runs: counters.runs,
        not_network: counters.not_network,
        no_interest: counters.no_interest,
        repeated: counters.repeated,
        out_of_scope: counters.out_of_scope,
        seen: counters.seen,
        submitted: counters.submitted,
        coalesced: counters.coalesced,
        coalesced_unkeyed: counters.coalesced_unkeyed,
        ring_full: counters.ring_full,
        unparsed: counters.unparsed,
        in_ring,
    }
}

fn sums(kernel: Option<&KernelLines>, user: &UserLines) -> Vec<Sum> {
    let mut sums = Vec::with_capacity(4);
    if let Some(k) = kernel {
        sums.push(sum(
            "runs = seen + not_network + no_interest + repeated + out_of_scope",
            k.runs,
            &[k.seen, k.not_network, k.no_interest, k.repeated, k.out_of_scope].map(Some),
        ));
        sums.push(sum(
            "seen = submitted + coalesced + ring_full + unparsed",
            k.seen,
            &[k.submitted, k.coalesced, k.ring_full, k.unparsed].map(Some),
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
