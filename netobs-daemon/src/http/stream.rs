//! `/v1/events/stream`: events as they happen, as server-sent events or NDJSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use crate::http::api::Api;
use crate::http::control::{Control, Format, GapReason, StreamLine};
use crate::http::params::FilterParams;
use crate::http::problem::Problem;
use crate::http::stream_params::{Start, StreamParams, StreamRequest};
use crate::pipeline::{Batch, Reader};

/// Header that carries the id after which a stream begins, so that a client can resume before its first event.
pub const POSITION: &str = "netobs-position";

/// Least time between two looks at the store: what comes in between goes out in one write. The first event after a
/// silence goes out at once.
const LINGER: Duration = Duration::from_millis(2);

/// Events as they happen: server-sent events or NDJSON, resumable.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events",
    params(FilterParams, StreamParams, ("Last-Event-ID" = Option<String>, Header, description = "Resume after this event")),
    responses(
        (status = 200, description = "Events, one per line or server-sent event, with control messages among them",
            content((StreamLine = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "A parameter is wrong"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many clients"),
    ))]
pub async fn stream(State(api): State<Arc<Api>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let store = Arc::clone(api.publisher.store());
    let request = StreamRequest::parse(&uri, &headers, api.publisher.origin(), store.last_seq())?;
    let Some(slot) = api.streams.take() else {
        let detail = format!("there are {} clients of the event stream already, which is the limit", api.streams.max());
        let mut refusal = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return Ok(refusal);
    };
    let (reader, gap) = open(&api, &request);
    let format = request.format;
    let position = HeaderValue::try_from(api.publisher.id_text(reader.seen())).ok();
    let client = Client {
        format,
        reader,
        gap,
        follow: request.follow,
        last_write: Instant::now(),
        last_look: None,
        api,
        _slot: slot,
    };
    let mut response = Body::from_stream(futures::stream::unfold(client, next_chunk)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Tells a proxy in between not to collect the stream before passing it on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(position) = position {
        headers.insert(POSITION, position);
    }
    Ok(response)
}

fn open(api: &Api, request: &StreamRequest) -> (Reader, Option<Control>) {
    let store = Arc::clone(api.publisher.store());
    let filter = request.filter.clone();
    let mut gap = None;
    let reader = match &request.start {
        Start::Live => Reader::live(store, filter),
        Start::Held => Reader::after(store, filter, 0).0,
        Start::Last(count) => Reader::last(store, filter, *count),
        Start::After(id) => {
            let known = id.origin == *api.publisher.origin();
            let (reader, complete) = Reader::after(store, filter, if known { id.seq } else { 0 });
            let reason = if known { GapReason::Evicted } else { GapReason::Restart };
            gap = (!known || !complete).then(|| Control::Gap { reason, after: id.to_string() });
            reader
        }
    };
    (if request.follow { reader } else { reader.until_now() }, gap)
}

struct Client {
    format: Format,
    reader: Reader,
    gap: Option<Control>,
    follow: bool,
    last_write: Instant,
    last_look: Option<Instant>,
    api: Arc<Api>,
    _slot: OwnedSemaphorePermit,
}

/// Waits for the next bytes of a client's stream. Called when the connection has room for them, so that a client which
/// does not read is not looked at.
async fn next_chunk(mut client: Client) -> Option<(Result<Bytes, Infallible>, Client)> {
    let shutdown = client.api.shutdown.clone();
    let store = Arc::clone(client.reader.store());
    loop {
        if shutdown.is_cancelled() && client.follow {
            // What has been published by now is still told.
            client.reader.end_now();
            client.follow = false;
        }
        // Before the look, so that an event published right after it is not slept through.
        let published = store.published.notified();
        let batch = client.reader.read();
        if batch.missed > 0 || !batch.frames.is_empty() || client.gap.is_some() {
            return Some(client.chunk(&batch));
        }
        if batch.more {
            tokio::task::yield_now().await;
            continue;
        }
        if !client.follow {
            return None;
        }
        let heartbeat = client.last_write + client.api.heartbeat;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => continue,
            () = published => {}
            () = sleep_until(heartbeat) => {
                let position = client.api.publisher.id_text(client.reader.seen());
                return Some(client.control(&Control::Heartbeat { position }));
            }
        }
        if let Some(last_look) = client.last_look {
            sleep_until(last_look + LINGER).await;
        }
        client.last_look = Some(Instant::now());
    }
}

impl Client {
    fn chunk(mut self, batch: &Batch) -> (Result<Bytes, Infallible>, Self) {
        let mut out = BytesMut::with_capacity(1024 * (batch.frames.len() + 1));
        // What a resuming client is told of as a gap is not to be counted as lag on top: the reader began after it.
        if let Some(gap) = self.gap.take() {
            self.format.put_control(&mut out, &gap);
        }
        if batch.missed > 0 {
            self.format.put_control(&mut out, &Control::Lagged { missed: batch.missed });
        }
        for frame in &batch.frames {
            self.format.put_frame(&mut out, frame);
        }
        self.last_write = Instant::now();
        (Ok(out.freeze()), self)
    }

    fn control(mut self, control: &Control) -> (Result<Bytes, Infallible>, Self) {
        let mut out = BytesMut::new();
        self.format.put_control(&mut out, control);
        self.last_write = Instant::now();
        (Ok(out.freeze()), self)
    }
}
