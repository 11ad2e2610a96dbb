//! Events: published, held, evicted; and the packets they stand for.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::http::metrics::write::{counter, gauge, plain};
use crate::pipeline::Publisher;
use crate::pipeline::frame::severity_name;
use crate::pipeline::history::CLASS_NAMES;
use crate::pipeline::tally::Reasons;

#[derive(Clone, Debug, EncodeLabelSet)]
struct ClassLabels {
    kind: &'static str,
    severity: &'static str,
}

/// Bounded by [`crate::pipeline::tally::MAX_REASONS`].
#[derive(Clone, Debug, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

/// Events of the publisher and its store.
pub(super) fn encode(out: &mut DescriptorEncoder, publisher: &Publisher) -> fmt::Result {
    let (count, level) = (MetricType::Counter, MetricType::Gauge);
    let bytes = Some(&Unit::Bytes);
    let tally = publisher.tally();
    classes(out, ("events", None, count), "Events published", publisher.events())?;
    let help = "Packets that published events stand for, those of coalesced bursts included";
    classes(out, ("event_packets", None, count), help, tally.packets())?;
    drops(out, &tally.reasons())?;
    let sizes = publisher.store().sizes();
    let events = sizes.map(|size| size.events as u64);
    classes(out, ("history_events", None, level), "Events held", events)?;
    let most = sizes.map(|size| size.max_events as u64);
    classes(out, ("history_events_limit", None, level), "Events held at most", most)?;
    let memory = sizes.map(|size| size.bytes as u64);
    classes(out, ("history", bytes, level), "Memory of the events held", memory)?;
    let most = sizes.map(|size| size.max_bytes as u64);
    classes(out, ("history_limit", bytes, level), "Memory of the events held at most", most)?;
    let evicted = sizes.map(|size| size.evicted);
    classes(out, ("history_evicted", None, count), "Events evicted to make room", evicted)?;
    let unresolved = publisher.evidence_unresolved();
    plain(out, "evidence_unresolved", "Links to events that were not known any more", unresolved)
}

/// Dropped packets by the kernel's reason. A reason appears with its first packet.
fn drops(out: &mut DescriptorEncoder, reasons: &Reasons) -> fmt::Result {
    let help = "Dropped packets by the kernel's reason, those of coalesced bursts included";
    let mut metric = out.encode_descriptor("netobs_dropped_packets", help, None, MetricType::Counter)?;
    for (reason, packets) in &reasons.named {
        counter(metric.encode_family(&ReasonLabels { reason: reason.to_string() })?, *packets)?;
    }
    // In lower case, as no reason of the kernel is.
    counter(metric.encode_family(&ReasonLabels { reason: "other".to_owned() })?, reasons.other)
}

/// A metric with a value per class; its name without prefix, unit and suffix.
fn classes<const N: usize>(
    out: &mut DescriptorEncoder,
    (name, unit, metric_type): (&str, Option<&Unit>, MetricType),
    help: &str,
    values: [u64; N],
) -> fmt::Result {
    let name = format!("netobs_{name}");
    let mut metric = out.encode_descriptor(&name, help, unit, metric_type)?;
    for ((kind, severity), value) in CLASS_NAMES.into_iter().zip(values) {
        let labels = ClassLabels { kind: kind.name(), severity: severity_name(severity) };
        let row = metric.encode_family(&labels)?;
        if matches!(metric_type, MetricType::Gauge) { gauge(row, value)? } else { counter(row, value)? }
    }
    Ok(())
}
