//! The listener for metrics over the network. Its counts are there, at 0, when it is not.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::http::metrics::write::{counter, real};
use crate::http::scrape::ScrapeStats;

#[derive(Clone, Debug, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// Requests and connections, and until when the certificate holds.
pub(super) fn encode(out: &mut DescriptorEncoder, stats: &ScrapeStats) -> fmt::Result {
    let help = "Requests to the network listener for metrics by result";
    let mut metric = out.encode_descriptor("netobs_scrape_requests", help, None, MetricType::Counter)?;
    for (result, requests) in stats.requests() {
        counter(metric.encode_family(&ResultLabels { result })?, requests)?;
    }
    let help = "Connections to the network listener for metrics that ended before a request";
    let mut metric = out.encode_descriptor("netobs_scrape_lost_connections", help, None, MetricType::Counter)?;
    for (cause, connections) in stats.lost_connections() {
        counter(metric.encode_family(&CauseLabels { cause })?, connections)?;
    }
    let name = "netobs_scrape_certificate_expiry_timestamp";
    let help = "When the certificate of the network listener for metrics ends";
    let Some(expires) = stats.expires() else { return Ok(()) };
    let metric = out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    real(metric, expires.as_duration().as_secs_f64())
}
