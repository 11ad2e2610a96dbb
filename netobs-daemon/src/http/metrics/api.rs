//! The API's own state: clients of the stream, readiness, version.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use crate::http::metrics::ApiCollector;
use crate::http::metrics::write::{level, plain};

#[derive(Clone, Debug, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// State of the API.
pub(super) fn encode(out: &mut DescriptorEncoder, state: &ApiCollector) -> fmt::Result {
    let streams = state.streams.status(state.publisher.store().lagged());
    plain(out, "stream_refused", "Stream clients refused", streams.refused)?;
    plain(out, "stream_missed_events", "Events that stream clients were too slow for", streams.missed)?;
    level(out, "stream_clients", "Clients of the event stream", None, streams.clients)?;
    level(out, "stream_clients_limit", "Clients of the event stream at most", None, streams.max_clients)?;
    level(out, "ready", "1 when the daemon is ready", None, state.readiness.view().ready.into())?;
    let mut build = out.encode_descriptor("netobs_build", "Version of netobs", None, MetricType::Info)?;
    build.encode_info(&BuildLabels { version: env!("CARGO_PKG_VERSION") })
}
