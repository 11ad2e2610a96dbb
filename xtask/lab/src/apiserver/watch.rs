//! A watch: JSON lines of events until its time is over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Shared;
use super::request::Selection;
use super::status::{Shape, too_old};
use super::store::{Change, Resource, Store};

/// What a watch was asked for.
#[derive(Debug)]
pub(super) struct WatchRequest {
    pub(super) resource: Resource,
    pub(super) selection: Selection,
    pub(super) shape: Shape,
    /// Where to start; none or 0: with what exists, as synthetic ADDED events.
    pub(super) from: Option<u64>,
    /// Whether to send what exists first and a bookmark after it (a streaming list).
    pub(super) initial: bool,
    pub(super) bookmarks: bool,
    pub(super) timeout: Duration,
}

struct Watch {
    shared: Arc<Shared>,
    request: WatchRequest,
    cursor: u64,
    pending: VecDeque<Value>,
    changed: tokio::sync::watch::Receiver<u64>,
    end: Instant,
    next_bookmark: Instant,
    finished: bool,
}

/// The body of a watch's answer.
pub(super) fn stream(
    shared: Arc<Shared>,
    request: WatchRequest,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let changed = shared.changed.subscribe();
    let now = Instant::now();
    let mut watch = Watch {
        end: now + request.timeout,
        next_bookmark: now + shared.bookmark_interval(),
        cursor: request.from.unwrap_or(0),
        pending: VecDeque::new(),
        finished: false,
        changed,
        shared,
        request,
    };
    watch.begin();
    futures::stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let mut line = event.to_string();
        line.push('\n');
        Some((Ok(Frame::data(Bytes::from(line))), watch))
    })
}

impl Watch {
    /// What a watch sends at once.
    fn begin(&mut self) {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        if self.request.initial || self.cursor == 0 {
            let selected = store.list(&self.request.resource).filter(|object| self.request.selection.fits(object));
            self.pending.extend(selected.map(|object| event("ADDED", self.request.shape, object)));
            self.cursor = store.version();
            if self.request.initial && self.request.bookmarks {
                self.pending.push_back(self.bookmark(true));
            }
        }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.finished {
                return None;
            }
            self.collect();
            if !self.pending.is_empty() {
                continue;
            }
            let deadline = self.end.min(self.next_bookmark);
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    // A last bookmark before the end lets the client resume where it is.
                    self.finished = Instant::now() >= self.end;
                    self.next_bookmark = Instant::now() + self.shared.bookmark_interval();
                    if self.request.bookmarks {
                        self.pending.push_back(self.bookmark(false));
                    }
                }
            }
        }
    }

    /// Takes what has changed since the last time.
    fn collect(&mut self) {
        let shared = Arc::clone(&self.shared);
        let store: &Store = &shared.store();
        // Marked as seen under the lock: no change is between what is read here and what wakes the next time.
        self.changed.borrow_and_update();
        let Some(changes) = store.since(&self.request.resource, self.cursor) else {
            let object = too_old(self.cursor, store.oldest());
            self.pending.push_back(json!({"type": "ERROR", "object": object}));
            self.finished = true;
            return;
        };
        self.cursor = store.version().max(self.cursor);
        let (selection, shape) = (&self.request.selection, self.request.shape);
        self.pending.extend(changes.iter().filter_map(|change| seen(change, selection, shape)));
    }

    fn bookmark(&self, initial_end: bool) -> Value {
        let resource = &self.request.resource;
        let (kind, group_version) =
            self.request.shape.kind(resource.kind().unwrap_or_default(), &resource.group_version);
        let mut object = json!({
            "kind": kind, "apiVersion": group_version, "metadata": {"resourceVersion": self.cursor.to_string()},
        });
        // Bookmarks are whole objects with nothing in them, and Go writes some empty fields.
        match kind {
            "Pod" => {
                object["spec"] = json!({"containers": null});
                object["status"] = json!({});
            }
            "Service" => {
                object["spec"] = json!({});
                object["status"] = json!({"loadBalancer": {}});
            }
            "EndpointSlice" => {
                object["addressType"] = json!("");
                object["endpoints"] = Value::Null;
                object["ports"] = Value::Null;
            }
            _ => {}
        }
        if initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        json!({"type": "BOOKMARK", "object": object})
    }
}

fn event(kind: &str, shape: Shape, object: &Value) -> Value {
    json!({"type": kind, "object": shape.object(object)})
}

/// A change as one sees it who watches a selection: an object that leaves it is DELETED although it lives.
fn seen(change: &Change, selection: &Selection, shape: Shape) -> Option<Value> {
    let fits = |object: &Option<Arc<Value>>| object.as_ref().filter(|object| selection.fits(object)).cloned();
    match (fits(&change.before), fits(&change.after)) {
        (None, None) => None,
        (None, Some(after)) => Some(event("ADDED", shape, &after)),
        (Some(_), Some(after)) => Some(event("MODIFIED", shape, &after)),
        (Some(before), None) => {
            let mut last = (*before).clone();
            last["metadata"]["resourceVersion"] = json!(change.version.to_string());
            Some(event("DELETED", shape, &last))
        }
    }
}
