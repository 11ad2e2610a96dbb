//! One feed: list and watch of one resource, and getting over whatever the API server does meanwhile.
//!
//! `kube`'s own watcher has no fall-back from streaming initial lists and hides bookmarks and reconnections; both are
//! needed here, the latter to tell how old the news may be. So this is a watcher of our own over `kube`'s `Api`.
//!
//! The initial list is a streaming one (`sendInitialEvents`, Kubernetes 1.27 and later). A server that refuses it (4xx)
//! gets list+watch from then on, one that ignores it (it never sends the end bookmark) gets list+watch for this time.

use std::fmt::Debug;
use std::pin::pin;

use futures::{Stream, StreamExt};
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::backoff::{Backoff, jitter};
use super::client::Failure;
use super::list::list;
use super::news::{Change, Lag, News};
use super::{BootClock, Tuning};
use crate::cluster::object::{EndpointSlice, Key, Kind, Node, Object, Pod, Service};
use crate::cluster::state::Feed;

/// A partial struct that can be watched.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static
{
    const KIND: Kind;
    fn object(self) -> Option<Object>;
}

macro_rules! watched {
    ($type:ident) => {
        impl Watched for $type {
            const KIND: Kind = Kind::$type;
            fn object(self) -> Option<Object> {
                self.record().map(Object::$type)
            }
        }
    };
}
watched!(Pod);
watched!(Service);
watched!(EndpointSlice);
watched!(Node);

/// How the initial list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    Streaming,
    /// The server let the streaming list run dry: not this time.
    ListOnce,
    /// The server refused the streaming list.
    List,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// Nobody listens any more.
    Closed,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A feed at work.
pub(super) struct Follower<K> {
    pub(super) feed: Feed,
    pub(super) api: Api<K>,
    pub(super) fields: Option<String>,
    pub(super) tuning: Tuning,
    pub(super) clock: BootClock,
    pub(super) news: mpsc::Sender<News>,
    strategy: Strategy,
    /// Where to go on watching; `None`: list first.
    version: Option<String>,
    /// Failures since the last good session.
    in_a_row: u32,
    lag: Lag,
}

impl<K: Watched> Follower<K> {
    pub(super) fn new(
        feed: Feed,
        api: Api<K>,
        fields: Option<String>,
        tuning: Tuning,
        clock: BootClock,
        news: mpsc::Sender<News>,
    ) -> Self {
        let strategy = Strategy::Streaming;
        Self { feed, api, fields, tuning, clock, news, strategy, version: None, in_a_row: 0, lag: Lag::default() }
    }

    /// Runs until nobody listens to its news any more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.tuning.backoff_first, self.tuning.backoff_cap);
        loop {
            let failure = match self.session(&mut backoff).await {
                Ok(()) => continue,
                Err(End::Closed) => return,
                Err(End::Failed(failure)) => failure,
            };
            self.in_a_row += 1;
            // 410: the version is too old. Failing again and again: it may be from another life of the server's database.
            if failure.code == Some(410) || self.in_a_row.is_multiple_of(5) {
                self.version = None;
            }
            tracing::debug!(feed = self.feed.name(), error = failure.message, "cluster watch failed");
            let wait = backoff.wait(failure.retry_after);
            let forbidden = matches!(failure.code, Some(403));
            if self.send(News::Trouble { feed: self.feed, message: failure.message, forbidden }).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.news.closed() => return,
            }
        }
    }

    /// One initial list, where needed, and one watch.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), End> {
        if self.version.is_none() && self.strategy == Strategy::Streaming {
            match self.open("0", true).await {
                Ok(stream) => return self.follow(stream, true, backoff).await,
                // Refused as such, not for lack of rights, load or age.
                Err(failure) if matches!(failure.code, Some(400 | 405 | 406 | 415 | 422)) => {
                    tracing::info!(
                        feed = self.feed.name(),
                        reason = failure.message,
                        "no streaming lists: list and watch"
                    );
                    self.strategy = Strategy::List;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        if self.version.is_none() {
            let (objects, undecodable, version) = list(&self.api, self.fields.clone(), self.tuning.answer).await?;
            self.replace(objects, undecodable).await?;
            self.version = Some(version);
            if self.strategy == Strategy::ListOnce {
                self.strategy = Strategy::Streaming;
            }
        }
        let version = self.version.clone().unwrap_or_default();
        let stream = self.open(&version, false).await?;
        self.lag.reopened((self.clock)());
        self.send(News::Well { feed: self.feed }).await?;
        self.follow(stream, false, backoff).await
    }

    async fn open(
        &self,
        version: &str,
        initial: bool,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<K>>> + use<K>, Failure> {
        // The server ends the watch after this time; spread, so that many daemons do not come back together.
        let seconds = self.tuning.watch.mul_f64(0.8 + 0.2 * jitter()).as_secs();
        let params = WatchParams {
            field_selector: self.fields.clone(),
            timeout: Some(u32::try_from(seconds).unwrap_or(290)),
            send_initial_events: initial,
            ..WatchParams::default()
        };
        match timeout(self.tuning.answer, self.api.watch(&params, version)).await {
            Ok(opened) => opened.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::new(format!("no answer to a watch within {:?}", self.tuning.answer))),
        }
    }

    /// Follows a watch to its end. `initial`: its first part is the list.
    async fn follow(
        &mut self,
        stream: impl Stream<Item = kube::Result<WatchEvent<K>>>,
        initial: bool,
        backoff: &mut Backoff,
    ) -> Result<(), End> {
        let mut stream = pin!(stream);
        let opened = Instant::now();
        let mut listing = initial.then(Vec::new);
        let mut undecodable = 0;
        let mut deadline = opened + self.tuning.initial_events;
        loop {
            // Closed by the server in time; when nothing at all comes for longer, the connection is dead.
            let idle = if listing.is_some() {
                deadline
            } else {
                Instant::now() + self.tuning.watch + self.tuning.initial_events
            };
            let next = tokio::select! {
                next = timeout_at(idle, stream.next()) => next,
                () = self.news.closed() => return Err(End::Closed),
            };
            let event = match next {
                Err(_) if listing.is_some() => {
                    self.strategy = Strategy::ListOnce;
                    return Ok(());
                }
                Err(_) => return Err(Failure::new("no news within the watch's time: the connection is dead").into()),
                Ok(None) if listing.is_some() => {
                    return Err(Failure::new("the watch ended before the initial list was complete").into());
                }
                Ok(None) if opened.elapsed() < self.tuning.too_short => {
                    return Err(Failure::new("the watch was closed at once").into());
                }
                Ok(None) => {
                    self.lag.heard((self.clock)());
                    return Ok(());
                }
                Ok(Some(Err(kube::Error::SerdeError(error)))) => {
                    tracing::debug!(feed = self.feed.name(), %error, "object of a watch left out");
                    undecodable += 1;
                    if listing.is_none() {
                        self.send(News::Undecodable { feed: self.feed, count: std::mem::take(&mut undecodable) })
                            .await?;
                    }
                    continue;
                }
                Ok(Some(Err(error))) => return Err(Failure::of(&error).into()),
                Ok(Some(Ok(event))) => event,
            };
            match event {
                WatchEvent::Error(status) => return Err(Failure::of_status(&status).into()),
                WatchEvent::Bookmark(bookmark) => {
                    let version = bookmark.metadata.resource_version;
                    self.version = Some(version).filter(|it| !it.is_empty());
                    if bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end")
                        && let Some(objects) = listing.take()
                    {
                        self.replace(objects, std::mem::take(&mut undecodable)).await?;
                        self.lag.reopened((self.clock)());
                        self.send(News::Well { feed: self.feed }).await?;
                    } else if listing.is_some() {
                        self.version = None;
                    } else {
                        self.lag.heard((self.clock)());
                    }
                }
                WatchEvent::Added(it) | WatchEvent::Modified(it) if listing.is_some() => {
                    let object = it.object();
                    undecodable += u64::from(object.is_none());
                    listing.get_or_insert_default().extend(object);
                    // A large list may take its time, as long as it comes.
                    let limit = opened + self.tuning.initial_events * 12;
                    deadline = limit.min(Instant::now() + self.tuning.initial_events);
                    continue;
                }
                WatchEvent::Deleted(_) if listing.is_some() => continue,
                WatchEvent::Added(it) | WatchEvent::Modified(it) => {
                    self.version = it.resource_version().filter(|it| !it.is_empty());
                    match it.object() {
                        Some(object) => self.change(Change::Apply(Box::new(object))).await?,
                        None => self.send(News::Undecodable { feed: self.feed, count: 1 }).await?,
                    }
                }
                WatchEvent::Deleted(it) => {
                    self.version = it.resource_version().filter(|it| !it.is_empty());
                    let key = Key { namespace: it.namespace().unwrap_or_default(), name: it.name_any() };
                    self.change(Change::Delete(K::KIND, key)).await?;
                }
            }
            if listing.is_none() && self.in_a_row > 0 {
                self.in_a_row = 0;
                backoff.reset();
            }
        }
    }

    async fn replace(&mut self, objects: Vec<Object>, undecodable: u64) -> Result<(), End> {
        let seen = self.lag.replaced((self.clock)(), self.tuning.lag);
        let change = match self.feed {
            // One of many nodes: the others are from another list.
            Feed::Node => objects.into_iter().next().map(|it| Change::Apply(Box::new(it))),
            _ => Some(Change::Replace(K::KIND, objects)),
        };
        self.send(News::Listed { feed: self.feed, change, seen, undecodable }).await
    }

    async fn change(&mut self, change: Change) -> Result<(), End> {
        let seen = self.lag.changed((self.clock)(), self.tuning.lag);
        self.send(News::Changed { change, seen }).await
    }

    async fn send(&self, news: News) -> Result<(), End> {
        self.news.send(news).await.map_err(|_| End::Closed)
    }
}
