//! `/metrics`: the ledger, the events and the API's own state, read when they are scraped.
//!
//! Labels are enumerations of this crate, so that their number is bounded by construction.

mod api;
pub mod classic;
mod dns;
mod events;
mod ledger;
pub mod node;
mod process;
mod scrape;
mod write;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::http::api::{Api, StreamSlots};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::readiness::Readiness;
use crate::http::scrape::ScrapeStats;
use crate::http::status::StatusSource;
use crate::pipeline::Publisher;

/// Content type of `OpenMetrics` 1.0.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "state", responses(
    (status = 200, description = "Text format 0.0.4, or OpenMetrics 1.0 where the Accept header names it", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    )),
))]
pub async fn metrics(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    respond(&api, &uri, &headers).map_err(|problem| *problem)
}

/// All metrics, in the format that the client wants.
pub(crate) fn respond(api: &Api, uri: &Uri, headers: &HeaderMap) -> Result<Response, Box<Problem>> {
    Query::parse(uri, &[]).map_err(|bad| Box::new(Problem::from(bad)))?;
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let openmetrics = accept.into_iter().any(classic::wants_openmetrics);
    let text = api
        .exposition()
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"))
        .map_err(Box::new)?;
    let (kind, text) =
        if openmetrics { (OPENMETRICS, text) } else { (classic::CONTENT_TYPE, classic::from_openmetrics(&text)) };
    // A cache must not give one scraper's format to another.
    Ok(([(header::CONTENT_TYPE, kind), (header::VARY, "accept")], text).into_response())
}

impl Api {
    /// All metrics, as `OpenMetrics` text.
    fn exposition(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 << 10);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Reads the pipeline and the API at scrape time.
pub struct ApiCollector {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) source: Arc<dyn StatusSource>,
    pub(crate) streams: Arc<StreamSlots>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) scrape: Arc<ScrapeStats>,
}

impl fmt::Debug for ApiCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiCollector").finish_non_exhaustive()
    }
}

impl Collector for ApiCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut encoder;
        ledger::encode(out, &self.publisher.ledger().view())?;
        events::encode(out, &self.publisher)?;
        dns::encode(out, self.publisher.tally())?;
        node::encode(out, &self.source.node_metrics(), self.publisher.clock())?;
        api::encode(out, self)?;
        scrape::encode(out, &self.scrape)?;
        process::encode(out)
    }
}
