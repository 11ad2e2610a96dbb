//! `/metrics`: the ledger, the events and the API's own state, read when they are scraped.
//!
//! Labels are enumerations of this crate, so that their number is bounded by construction.

mod api;
mod events;
mod ledger;
mod write;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::http::api::{Api, StreamSlots};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::readiness::Readiness;
use crate::pipeline::Publisher;

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

impl Collector for ApiCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut encoder;
        ledger::encode(out, &self.publisher.ledger().view())?;
        events::encode(out, &self.publisher)?;
        api::encode(out, self)
    }
}
