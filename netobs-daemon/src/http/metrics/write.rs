//! How single values are written.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// A counter without labels; `name` without prefix and suffix.
pub(super) fn plain(out: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("netobs_{name}");
    counter(out.encode_descriptor(&name, help, None, MetricType::Counter)?, value)
}

/// A counter's value.
pub(super) fn counter(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder)
}

/// A gauge's value.
pub(super) fn gauge(encoder: MetricEncoder, value: u64) -> fmt::Result {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
}
