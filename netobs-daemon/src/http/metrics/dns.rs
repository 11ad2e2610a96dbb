//! DNS exchanges by outcome and response code, and how long answers took.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::http::metrics::write::counter;
use crate::pipeline::Tally;
use crate::pipeline::frame::outcome_name;

#[derive(Clone, Debug, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Bounded by [`crate::pipeline::tally::RCODES`].
#[derive(Clone, Debug, EncodeLabelSet)]
struct RcodeLabels {
    rcode: String,
}

/// DNS exchanges.
pub(super) fn encode(out: &mut DescriptorEncoder, tally: &Tally) -> fmt::Result {
    let help = "DNS questions by what became of them";
    let mut metric = out.encode_descriptor("netobs_dns_exchanges", help, None, MetricType::Counter)?;
    for (outcome, exchanges) in tally.outcomes() {
        counter(metric.encode_family(&OutcomeLabels { outcome: outcome_name(outcome) })?, exchanges)?;
    }
    let help = "DNS answers by response code";
    let mut metric = out.encode_descriptor("netobs_dns_answers", help, None, MetricType::Counter)?;
    for (rcode, answers) in tally.rcodes() {
        counter(metric.encode_family(&RcodeLabels { rcode })?, answers)?;
    }
    let help = "From the first sight of a DNS question to the first sight of its answer";
    let metric = out.encode_descriptor("netobs_dns_latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    tally.latency().encode(metric)
}
