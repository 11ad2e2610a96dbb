//! How single values are written.
//!
//! A label's value is a `&'static str`, so a word of this program, wherever that is possible; the few that are not say
//! what bounds them.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A counter without labels; `name` without prefix and suffix.
pub(super) fn plain(out: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("netobs_{name}");
    counter(out.encode_descriptor(&name, help, None, MetricType::Counter)?, value)
}

/// A gauge without labels; `name` without prefix and unit.
pub(super) fn level(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let name = format!("netobs_{name}");
    gauge(out.encode_descriptor(&name, help, unit, MetricType::Gauge)?, value)
}

/// A counter's value.
pub(super) fn counter(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder)
}

/// A gauge's value.
pub(super) fn gauge(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}

/// A gauge's value that is no whole number.
pub(super) fn real(encoder: MetricEncoder, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder)
}
