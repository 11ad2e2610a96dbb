//! Answers to requests: lists, single objects, watches and their failures.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::fault::StreamingLists;
use super::request::{Query, Selection, Target};
use super::status::{self, Shape, status};
use super::store::{Resource, Snapshot, serves_group};
use super::watch::{self, WatchRequest};
use super::{Shared, lock};

/// A watch without `timeoutSeconds`: real servers choose between 30 and 60 minutes.
const WATCH_TIMEOUT: u64 = 1800;

/// Largest review that is read.
const REVIEW_LIMIT: usize = 1 << 20;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers one request, misbehaving as far as it was told to.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let uri = request.uri().clone();
    shared.note(format!("{} {uri}", request.method()));
    let faults = shared.faults();
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if let Some((code, body)) = faults.failure {
        return plain(code, body);
    }
    if request.method() == Method::POST {
        let body = Limited::new(request.into_body(), REVIEW_LIMIT).collect().await.map(Collected::to_bytes);
        let answer = body.ok().and_then(|body| lock(&shared.reviews).answer(uri.path(), &body));
        return answer.map_or_else(method_not_allowed, |(code, body)| json_body(code, &body));
    }
    if request.method() != Method::GET {
        return method_not_allowed();
    }
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shape = Shape::of(accept);
    let query = Query::parse(uri.query());
    match Target::parse(uri.path()) {
        Target::Version => json_body(200, &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.2-lab"})),
        Target::Health => plain(200, "ok".into()),
        Target::Unknown => plain(404, "404 page not found\n".into()),
        Target::Collection { resource, .. } | Target::Object { resource, .. }
            if !serves_group(&resource.group_version) || faults.hidden_groups.contains(&resource.group_version) =>
        {
            // The 404 of an unknown group is plain text, that of an unknown resource a Status.
            plain(404, "404 page not found\n".into())
        }
        Target::Collection { resource, .. } | Target::Object { resource, .. } if resource.kind().is_none() => {
            failure(404, &status::unknown_resource())
        }
        Target::Object { resource, namespace, name } => match shared.store().get(&resource, &namespace, &name) {
            Some(object) => json_body(200, &shape.object(object)),
            None => failure(404, &status::not_found(&resource, &name)),
        },
        Target::Collection { resource, namespace } => {
            let selection = match Selection::parse(namespace, &query) {
                Ok(selection) => selection,
                Err(message) => return failure(400, &status(400, "BadRequest", &message)),
            };
            if query.flag("watch") {
                start_watch(shared, resource, selection, shape, &query, faults.streaming_lists)
            } else {
                list(&shared, &resource, &selection, shape, &query)
            }
        }
    }
}

fn method_not_allowed() -> Response<Body> {
    let message = "the server does not allow this method on the requested resource";
    failure(405, &status(405, "MethodNotAllowed", message))
}

fn list(shared: &Shared, resource: &Resource, selection: &Selection, shape: Shape, query: &Query) -> Response<Body> {
    let mut store = shared.store();
    let mut rest = if let Some(token) = query.get("continue") {
        let Ok(token) = token.parse() else {
            return failure(400, &status(400, "BadRequest", "continue key is not valid"));
        };
        match store.resume(token) {
            Some(rest) => rest,
            None => return failure(410, &status::continue_expired()),
        }
    } else {
        let asked = query.number("resourceVersion").unwrap_or(0);
        if asked > store.version() {
            return failure(504, &status::in_the_future(asked, store.version()));
        }
        if query.get("resourceVersionMatch") == Some("Exact") && asked != store.version() {
            let message = "The resourceVersion for the provided list is too old.";
            return failure(410, &status(410, "Expired", message));
        }
        let items = store.list(resource).filter(|object| selection.fits(object)).cloned().collect();
        Snapshot { version: store.version(), items }
    };
    let limit = query.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let left = rest.items.split_off(limit.unwrap_or(usize::MAX).min(rest.items.len()));
    let mut metadata = json!({"resourceVersion": rest.version.to_string()});
    if !left.is_empty() {
        metadata["remainingItemCount"] = json!(left.len());
        let token = store.keep(Snapshot { version: rest.version, items: left });
        metadata["continue"] = json!(token.to_string());
    }
    let items: Vec<Value> = rest.items.iter().map(|object| shape.item(object)).collect();
    let (kind, group_version) = shape.kind(resource.kind().unwrap_or_default(), &resource.group_version);
    json_body(
        200,
        &json!({"kind": format!("{kind}List"), "apiVersion": group_version, "metadata": metadata, "items": items}),
    )
}

fn start_watch(
    shared: Arc<Shared>,
    resource: Resource,
    selection: Selection,
    shape: Shape,
    query: &Query,
    streaming: StreamingLists,
) -> Response<Body> {
    let from = match query.get("resourceVersion").map(str::parse) {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => {
            let text = query.get("resourceVersion").unwrap_or_default();
            let message = format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            );
            return failure(500, &status(500, "", &message));
        }
    };
    let mut initial = query.flag("sendInitialEvents");
    if initial {
        let refusal = match streaming {
            StreamingLists::Served if query.get("resourceVersionMatch") == Some("NotOlderThan") => None,
            StreamingLists::Served => Some("resourceVersionMatch is required for watch when sendInitialEvents is set"),
            StreamingLists::Refused => {
                Some("sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
            }
            StreamingLists::Ignored => {
                initial = false;
                None
            }
        };
        if let Some(message) = refusal {
            let kind = "ListOptions.meta.k8s.io";
            return failure(422, &status(422, "Invalid", &format!("{kind} \"\" is invalid: {message}")));
        }
    }
    let timeout = Duration::from_secs(query.number("timeoutSeconds").unwrap_or(WATCH_TIMEOUT));
    let bookmarks = query.flag("allowWatchBookmarks");
    let request = WatchRequest { resource, selection, shape, from, initial, bookmarks, timeout };
    let body = StreamBody::new(watch::stream(shared, request)).boxed_unsync();
    respond(200, "application/json", body)
}

fn respond(code: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static(kind));
    headers.insert("cache-control", hyper::header::HeaderValue::from_static("no-cache, private"));
    response
}

fn json_body(code: u16, body: &Value) -> Response<Body> {
    respond(code, "application/json", Full::new(Bytes::from(body.to_string())).boxed_unsync())
}

fn failure(code: u16, body: &Value) -> Response<Body> {
    json_body(code, body)
}

/// JSON where it looks like JSON, else plain text.
fn plain(code: u16, body: String) -> Response<Body> {
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
    let mut response = respond(code, kind, Full::new(Bytes::from(body)).boxed_unsync());
    if code == 429 {
        response.headers_mut().insert("retry-after", hyper::header::HeaderValue::from_static("1"));
    }
    response
}
