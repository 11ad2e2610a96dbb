//! The loss ledger's lines.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::http::metrics::write::{counter, gauge, plain};
use crate::pipeline::LedgerView;
use crate::pipeline::sums::{FAMILIES, FamilyLedger, HOOKS, HookLedger, KernelLines};

#[derive(Clone, Debug, EncodeLabelSet)]
struct FamilyLabels {
    family: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct FamilyOutcomeLabels {
    family: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct HookLabels {
    hook: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct HookOutcomeLabels {
    hook: &'static str,
    outcome: &'static str,
}

/// The outcomes of one step: label and value.
type Outcomes<'a, T> = &'a dyn Fn(&T) -> Vec<(&'static str, u64)>;

/// All families of the ledger.
pub(super) fn encode(out: &mut DescriptorEncoder, ledger: &LedgerView) -> fmt::Result {
    let kernel: Vec<_> = indexed(&ledger.families).filter_map(|(name, one)| Some((name, one.kernel?))).collect();
    let daemon: Vec<_> = indexed(&ledger.families).map(|(name, one)| (name, one.daemon)).collect();
    hooks(out, &ledger.hooks)?;
    families(out, "packets_repeated", "Further sights of packets, with nothing more to tell", &kernel, |lines| {
        lines.repeated
    })?;
    outcomes(out, "packets", "Packets of interest by what the kernel side did with them", &kernel, &packet_outcomes)?;
    outcomes(out, "records", "Records by what became of them in the daemon", &daemon, &|lines| {
        vec![
            ("undecodable", lines.undecodable),
            ("published", lines.published),
            ("folded", lines.folded),
            ("queue_full", lines.queue_full),
            ("evicted", lines.evicted),
        ]
    })?;
    families(out, "records_decoded", "Records decoded", &daemon, |lines| lines.decoded)?;
    families(out, "summaries", "Summary events published", &daemon, |lines| lines.summaries)?;
    families(out, "summarised_packets", "Packets that summary events stand for", &daemon, |lines| {
        lines.summarised_packets
    })?;
    let mut pending = out.encode_descriptor("netobs_records_pending", "Records that wait", None, MetricType::Gauge)?;
    for (family, lines) in &daemon {
        gauge(pending.encode_family(&FamilyLabels { family })?, lines.pending)?;
    }
    if let Some(misses) = ledger.recursion_misses {
        plain(out, "program_recursion_misses", "Program runs that the kernel skipped", misses)?;
    }
    if let Some(runs) = ledger.netfilter_runs {
        plain(out, "netfilter_runs", "Runs of the netfilter programs", runs)?;
    }
    Ok(())
}

fn indexed(families: &[FamilyLedger]) -> impl Iterator<Item = (&'static str, &FamilyLedger)> {
    FAMILIES.into_iter().zip(families)
}

/// Runs of each hook's programs, and those that led to no family.
fn hooks(out: &mut DescriptorEncoder, ledgers: &[HookLedger]) -> fmt::Result {
    let rows = || HOOKS.iter().map(|(hook, _)| *hook).zip(ledgers);
    let help = "Runs of the kernel programs";
    let mut metric = out.encode_descriptor("netobs_program_runs", help, None, MetricType::Counter)?;
    for (hook, lines) in rows() {
        counter(metric.encode_family(&HookLabels { hook })?, lines.runs)?;
    }
    let help = "Runs of the kernel programs that ended without a packet of interest, by what they met";
    let mut metric = out.encode_descriptor("netobs_program_outcomes", help, None, MetricType::Counter)?;
    for (hook, lines) in rows() {
        for (outcome, value) in [
            ("not_network", lines.not_network),
            ("no_interest", lines.no_interest),
            ("out_of_scope", lines.out_of_scope),
        ] {
            counter(metric.encode_family(&HookOutcomeLabels { hook, outcome })?, value)?;
        }
    }
    Ok(())
}

fn packet_outcomes(lines: &KernelLines) -> Vec<(&'static str, u64)> {
    vec![
        ("submitted", lines.submitted),
        ("coalesced", lines.coalesced),
        ("ring_full", lines.ring_full),
        ("unparsed", lines.unparsed),
        ("withheld", lines.withheld),
    ]
}

fn families<T>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: &[(&'static str, T)],
    value: impl Fn(&T) -> u64,
) -> fmt::Result {
    let name = format!("netobs_{name}");
    let mut metric = out.encode_descriptor(&name, help, None, MetricType::Counter)?;
    for (family, lines) in rows {
        counter(metric.encode_family(&FamilyLabels { family })?, value(lines))?;
    }
    Ok(())
}

fn outcomes<T>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: &[(&'static str, T)],
    values: Outcomes<T>,
) -> fmt::Result {
    let name = format!("netobs_{name}");
    let mut metric = out.encode_descriptor(&name, help, None, MetricType::Counter)?;
    for (family, lines) in rows {
        for (outcome, value) in values(lines) {
            counter(metric.encode_family(&FamilyOutcomeLabels { family, outcome })?, value)?;
        }
    }
    Ok(())
}
