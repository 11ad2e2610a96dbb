//! Events: published, held, evicted.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::http::metrics::write::{counter, gauge, plain};
use crate::pipeline::Publisher;
use crate::pipeline::frame::{kind_name, severity_name};
use crate::pipeline::history::CLASS_NAMES;

#[derive(Clone, Debug, EncodeLabelSet)]
struct ClassLabels {
    kind: &'static str,
    severity: &'static str,
}

/// Events of the publisher and its store.
pub(super) fn encode(out: &mut DescriptorEncoder, publisher: &Publisher) -> fmt::Result {
    let sizes = publisher.store().sizes();
    classes(out, "events", "Events published", MetricType::Counter, publisher.events())?;
    let held = sizes.map(|size| size.events as u64);
    classes(out, "history_events", "Events held", MetricType::Gauge, held)?;
    let bytes = sizes.map(|size| size.bytes as u64);
    classes(out, "history_bytes", "Memory of the events held", MetricType::Gauge, bytes)?;
    let evicted = sizes.map(|size| size.evicted);
    classes(out, "history_evicted", "Events evicted to make room", MetricType::Counter, evicted)?;
    let unresolved = publisher.evidence_unresolved();
    plain(out, "evidence_unresolved", "Links to events that were not known any more", unresolved)
}

fn classes<const N: usize>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    metric_type: MetricType,
    values: [u64; N],
) -> fmt::Result {
    let name = format!("netobs_{name}");
    let mut metric = out.encode_descriptor(&name, help, None, metric_type)?;
    for ((kind, severity), value) in CLASS_NAMES.into_iter().zip(values) {
        let labels = ClassLabels { kind: kind_name(kind), severity: severity_name(severity) };
        let row = metric.encode_family(&labels)?;
        if matches!(metric_type, MetricType::Gauge) { gauge(row, value)? } else { counter(row, value)? }
    }
    Ok(())
}
