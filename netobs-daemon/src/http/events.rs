//! `/v1/events`: the events that are held, in pages.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::event::observation::Observation;
use crate::http::api::Api;
use crate::http::params::FilterParams;
use crate::http::problem::Problem;
use crate::http::query::{BadParameter, Query};
use crate::pipeline::{EventId, Order, Page, Publisher};

/// Events of a page at most.
pub const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

/// Which page.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Events at most, 1 to 1000; 100 unless given.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<u32>,
    /// The page after this one: `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// `newest` (first; the default) or `oldest`.
    pub order: Option<String>,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventsPage {
    /// The events, in the order asked for.
    pub events: Vec<Observation>,
    /// Where the next page begins; absent: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Events of the kinds asked for that followed the cursor had been evicted from the history.
    #[serde(default)]
    pub evicted: bool,
}

/// Events that are held, filtered, in pages.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(FilterParams, PageParams), responses(
    (status = 200, body = EventsPage, description = "A page of events"),
    (status = 400, body = Problem, content_type = "application/problem+json", description = "A parameter is wrong"),
))]
pub async fn events(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let mut known = FilterParams::NAMES.to_vec();
    known.extend(["limit", "cursor", "order"]);
    let query = Query::parse(&uri, &known)?;
    let filter = FilterParams::from_query(&query).compile(Timestamp::now())?;
    let limit = query.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let order = query.word("order", &[("newest", Order::Newest), ("oldest", Order::Oldest)])?.unwrap_or_default();
    let cursor = query.get("cursor").map(|text| cursor(&api.publisher, text)).transpose()?;
    let page = api.publisher.store().query(&filter, order, cursor, limit);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, render(&api.publisher, &page)).into_response())
}

fn cursor(publisher: &Publisher, text: &str) -> Result<u64, BadParameter> {
    let bad = |expected: String| BadParameter::new("cursor", text, expected);
    let id: EventId = text.parse().map_err(|error| bad(format!("next_cursor of a page: {error}")))?;
    if id.origin != *publisher.origin() {
        return Err(bad("a cursor of this start of the daemon; it was restarted, begin again without one".to_owned()));
    }
    Ok(id.seq)
}

/// Puts the events' own bytes together: nothing is serialised again.
fn render(publisher: &Publisher, page: &Page) -> Vec<u8> {
    let size: usize = page.frames.iter().map(|frame| frame.json().len() + 1).sum();
    let mut body = Vec::with_capacity(size + 128);
    body.extend_from_slice(b"{\"events\":[");
    for (index, frame) in page.frames.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(frame.json());
    }
    body.push(b']');
    if let Some(last) = page.frames.last().filter(|_| page.more) {
        body.extend_from_slice(b",\"next_cursor\":\"");
        body.extend_from_slice(publisher.id_text(last.seq).as_bytes());
        body.push(b'"');
    }
    body.extend_from_slice(if page.evicted { b",\"evicted\":true}" } else { b",\"evicted\":false}" });
    body
}
