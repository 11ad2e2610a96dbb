//! `/metrics`: the ledger, the events and the API's own state, read when they are scraped.
//!
//! Labels are enumerations of this crate, so that their number is bounded by construction.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::http::api::{Api, StreamSlots};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::readiness::Readiness;
use crate::pipeline::Publisher;
use crate::pipeline::frame::{kind_name, severity_name};
use crate::pipeline::history::CLASS_NAMES;
use crate::pipeline::sums::{FAMILIES, FamilyLedger, KernelLines};

/// Content type of the text format (`OpenMetrics` 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "state", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text", description = "OpenMetrics text"),
))]
pub async fn metrics(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    let mut text = String::with_capacity(8192);
    prometheus_client::encoding::text::encode(&mut text, &api.registry)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Reads the pipeline and the API at scrape time.
#[derive(Debug)]
pub struct ApiCollector {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) streams: Arc<StreamSlots>,
    pub(crate) readiness: Arc<Readiness>,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct ClassLabels {
    kind: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct FamilyLabels {
    family: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct OutcomeLabels {
    family: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// The outcomes of one step: label and value.
type Outcomes<'a, T> = &'a dyn Fn(&T) -> Vec<(&'static str, u64)>;

impl Collector for ApiCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut encoder;
        let ledger = self.publisher.ledger().view();
        let kernel: Vec<_> = indexed(&ledger.families).filter_map(|(name, one)| Some((name, one.kernel?))).collect();
        let daemon: Vec<_> = indexed(&ledger.families).map(|(name, one)| (name, one.daemon)).collect();
        families(out, "program_runs", "Runs of the kernel programs", &kernel, |lines| lines.runs)?;
        outcomes(out, "program_outcomes", "Runs of the kernel programs by outcome", &kernel, &run_outcomes)?;
        outcomes(
            out,
            "packets",
            "Packets of interest by what the kernel side did with them",
            &kernel,
            &packet_outcomes,
        )?;
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
        let mut pending =
            out.encode_descriptor("netobs_records_pending", "Records that wait", None, MetricType::Gauge)?;
        for (family, lines) in &daemon {
            gauge(pending.encode_family(&FamilyLabels { family })?, lines.pending)?;
        }
        if let Some(misses) = ledger.recursion_misses {
            plain(out, "program_recursion_misses", "Program runs that the kernel skipped", misses)?;
        }
        if let Some(runs) = ledger.netfilter_runs {
            plain(out, "netfilter_runs", "Runs of the netfilter programs", runs)?;
        }
        self.events(out)?;
        self.api(out)
    }
}

impl ApiCollector {
    fn events(&self, out: &mut DescriptorEncoder) -> fmt::Result {
        let sizes = self.publisher.store().sizes();
        classes(out, "events", "Events published", MetricType::Counter, self.publisher.events())?;
        let held = sizes.map(|size| size.events as u64);
        classes(out, "history_events", "Events held", MetricType::Gauge, held)?;
        let bytes = sizes.map(|size| size.bytes as u64);
        classes(out, "history_bytes", "Memory of the events held", MetricType::Gauge, bytes)?;
        let evicted = sizes.map(|size| size.evicted);
        classes(out, "history_evicted", "Events evicted to make room", MetricType::Counter, evicted)?;
        let unresolved = self.publisher.evidence_unresolved();
        plain(out, "evidence_unresolved", "Links to events that were not known any more", unresolved)
    }

    fn api(&self, out: &mut DescriptorEncoder) -> fmt::Result {
        let streams = self.streams.status(self.publisher.store().lagged());
        plain(out, "stream_refused", "Stream clients refused", streams.refused)?;
        plain(out, "stream_missed_events", "Events that stream clients were too slow for", streams.missed)?;
        for (name, help, value) in [
            ("netobs_stream_clients", "Clients of the event stream", streams.clients),
            ("netobs_stream_clients_max", "Clients of the event stream at most", streams.max_clients),
            ("netobs_ready", "1 when the daemon is ready", u64::from(self.readiness.view().ready)),
        ] {
            gauge(out.encode_descriptor(name, help, None, MetricType::Gauge)?, value)?;
        }
        let mut build = out.encode_descriptor("netobs_build", "Version of netobs", None, MetricType::Info)?;
        build.encode_info(&BuildLabels { version: env!("CARGO_PKG_VERSION") })
    }
}

fn indexed(families: &[FamilyLedger]) -> impl Iterator<Item = (&'static str, &FamilyLedger)> {
    FAMILIES.into_iter().zip(families)
}

fn run_outcomes(lines: &KernelLines) -> Vec<(&'static str, u64)> {
    vec![
        ("seen", lines.seen),
        ("not_network", lines.not_network),
        ("no_interest", lines.no_interest),
        ("repeated", lines.repeated),
        ("out_of_scope", lines.out_of_scope),
    ]
}

fn packet_outcomes(lines: &KernelLines) -> Vec<(&'static str, u64)> {
    vec![
        ("submitted", lines.submitted),
        ("coalesced", lines.coalesced),
        ("ring_full", lines.ring_full),
        ("unparsed", lines.unparsed),
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
            counter(metric.encode_family(&OutcomeLabels { family, outcome })?, value)?;
        }
    }
    Ok(())
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

fn plain(out: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("netobs_{name}");
    counter(out.encode_descriptor(&name, help, None, MetricType::Counter)?, value)
}

fn counter(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder)
}

fn gauge(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}
