//! `/`, `/healthz`, `/readyz` and `/openapi.json`.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;

use crate::http::api::Api;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::readiness::ReadyView;

/// Alive: the HTTP server answers.
#[utoipa::path(get, path = "/healthz", tag = "probes", responses(
    (status = 200, body = String, content_type = "text/plain", description = "Alive"),
))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready: programs attached and metadata there, or the reasons why not.
#[utoipa::path(get, path = "/readyz", tag = "probes", responses(
    (status = 200, body = ReadyView, description = "Ready"),
    (status = 503, body = ReadyView, description = "Not ready, with the reasons"),
))]
pub async fn readyz(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    let view = api.readiness.view();
    let status = if view.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(view)).into_response())
}

/// The first page: what this is and where to go from here, made from the API's own description.
pub fn index(openapi: &OpenApi) -> String {
    let mut page = format!(
        "netobs {}: which packet failed on this node, whose it was and what failed it.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for (path, item) in &openapi.paths.paths {
        let summary = item.get.as_ref().and_then(|operation| operation.summary.as_deref()).unwrap_or_default();
        let _ = writeln!(page, "  {path:<20} {summary}");
    }
    page.push_str(
        "\nTry:\n  netobs observe\n  curl -sN localhost:7117/v1/events/stream\n  \
         curl -s 'localhost:7117/v1/events?severity=problem&since=5m'\n",
    );
    page
}

/// Text that does not change while the daemon runs.
pub fn fixed(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
