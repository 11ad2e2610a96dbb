//! Follows the API server: one feed for each resource, one task that owns the index.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::index::OwnerQuery;
use super::object::{EndpointSlice, Node, Pod, Service};
use super::state::Feed;

mod backoff;
mod client;
mod list;
mod lookup;
mod news;
mod stream;

pub use client::ClientError;
pub(super) use client::connect;
pub(super) use news::{Change, News};
use stream::{Follower, Watched};

/// `CLOCK_BOOTTIME` now, nanoseconds.
pub type BootClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The times the watch goes by.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// A streaming initial list that is silent for so long is not one.
    pub initial_events: Duration,
    /// The API server has to answer within this time.
    pub answer: Duration,
    /// The server is to end a watch after this time.
    pub watch: Duration,
    /// A watch that ends sooner than this failed.
    pub too_short: Duration,
    /// First wait after a failure.
    pub backoff_first: Duration,
    /// Longest wait after a failure.
    pub backoff_cap: Duration,
    /// News are at most this late while a watch stands.
    pub lag: Duration,
    /// Readers see a change at most this late; all changes meanwhile cost one copy.
    pub publish: Duration,
    /// How often the metadata file is looked at.
    pub poll: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            initial_events: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            watch: Duration::from_secs(290),
            too_short: Duration::from_secs(1),
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(30),
            lag: Duration::from_secs(2),
            publish: Duration::from_millis(5),
            poll: Duration::from_secs(2),
        }
    }
}

/// What all feeds share.
pub(super) struct Context {
    pub(super) tuning: Tuning,
    pub(super) clock: BootClock,
    pub(super) tasks: TaskTracker,
    pub(super) news: mpsc::Sender<News>,
}

impl Context {
    fn follow<K: Watched>(&self, feed: Feed, api: Api<K>, fields: Option<String>) {
        let follower = Follower::new(feed, api, fields, self.tuning, self.clock.clone(), self.news.clone());
        self.watched(feed, follower.run());
    }

    /// Runs a feed; should it break (a bug), the status tells.
    fn watched(&self, feed: Feed, work: impl Future<Output = ()> + Send + 'static) {
        let news = self.news.clone();
        let task = tokio::spawn(work);
        self.tasks.spawn(async move {
            if let Err(error) = task.await {
                let message = format!("this feed broke and stays so until a restart: {error}");
                let _ = news.send(News::Trouble { feed, message, forbidden: false }).await;
            }
        });
    }
}

/// Connects and starts all feeds. They end when nobody receives their news any more.
pub(super) async fn start(
    context: &Context,
    kubeconfig: Option<&Path>,
    all_pods: bool,
    node: &str,
    queries: mpsc::Receiver<OwnerQuery>,
) -> Result<(), ClientError> {
    let client = client::connect(kubeconfig).await?;
    let on_node = (!all_pods).then(|| format!("spec.nodeName={node}"));
    context.follow::<Pod>(Feed::Pods, Api::all(client.clone()), on_node);
    context.follow::<Service>(Feed::Services, Api::all(client.clone()), None);
    context.follow::<EndpointSlice>(Feed::EndpointSlices, Api::all(client.clone()), None);
    context.follow::<Node>(Feed::Node, Api::all(client.clone()), Some(format!("metadata.name={node}")));
    let Context { tuning, clock, tasks, news } = context;
    let nodes = list::follow_nodes(Api::all(client.clone()), *tuning, clock.clone(), news.clone());
    context.watched(Feed::Nodes, nodes);
    tasks.spawn(lookup::run(client, *tuning, queries, news.clone()));
    Ok(())
}
