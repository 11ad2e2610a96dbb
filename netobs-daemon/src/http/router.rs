//! All routes, and the description made from them.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::control::{Control, GapReason};
use crate::http::probes::{fixed, index};
use crate::http::problem::Problem;
use crate::http::{events, metrics, probes, status, stream};

/// What the description says of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "netobs",
        description = "Which packet failed on this node, whose it was and what failed it. Paths that begin with /v1 \
                       keep their meaning: fields and kinds are added, none is changed or taken away. See docs/api.md.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(Control, GapReason)),
    tags(
        (name = "events", description = "What happened"),
        (name = "state", description = "What the daemon sees and what became of every packet"),
        (name = "probes", description = "For kubelet and people"),
    )
)]
struct Description;

/// The router and its description.
pub fn build(api: Arc<Api>) -> (Router, utoipa::openapi::OpenApi) {
    let (router, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(events::events))
        .routes(routes!(stream::stream))
        .routes(routes!(status::status))
        .routes(routes!(metrics::metrics))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .split_for_parts();
    let first_page = index(&openapi);
    let description = openapi.to_pretty_json().unwrap_or_default();
    let router = router
        .route("/", get(async move || fixed("text/plain; charset=utf-8", first_page.clone())))
        .route("/openapi.json", get(async move || fixed("application/json", description.clone())))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(api);
    (router, openapi)
}

async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is no {path:?} here; GET / lists what there is"))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{path:?} cannot be asked with {method}, only with GET and HEAD"),
    )
}
