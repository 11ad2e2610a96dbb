//! What the API server (or a file) says about pods, Services and nodes: the only user of `kube`.
//!
//! [`spawn`] follows the source and keeps an [`index::Index`]; the rest of the daemon reads [`Snapshot`]s of it, which
//! are `resolve::Directory`s. Without any source everything works and nothing has a name.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod access;
mod file;
pub mod index;
mod keeper;
pub mod object;
pub mod state;
mod watch;

pub use access::{Access, AccessReviews, ReviewError};
pub use file::FileError;
pub use index::Snapshot;
pub use state::{ClusterState, Feed, FeedState, Phase};
pub use watch::{BootClock, ClientError, Tuning};

use keeper::{Keeper, Published};

/// News that wait for the index at most; the watches wait when it is full.
const NEWS: usize = 1024;
/// Owner look-ups that wait at most outside the index.
const QUERIES: usize = 16;

/// Where the metadata comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// The API server.
    Api {
        /// A kubeconfig; else `KUBECONFIG`, `~/.kube/config` or the pod's service account.
        kubeconfig: Option<PathBuf>,
        /// Watch the pods of all nodes, for small clusters.
        watch_all_pods: bool,
    },
    /// A file: the output of `kubectl get pods,services,nodes,endpointslices -A -o json`. It is read again when it
    /// changes.
    File(PathBuf),
    /// None: no names.
    None,
}

impl MetadataSource {
    /// The API server, where this machine has a configuration for one.
    pub fn detect(watch_all_pods: bool) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
        let found = set("KUBECONFIG").is_some()
            || set("KUBERNETES_SERVICE_HOST").is_some()
            || home.is_some_and(|path| path.is_file());
        if found { Self::Api { kubeconfig: None, watch_all_pods } } else { Self::None }
    }
}

/// The source cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The API server's configuration.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The metadata file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The name this node has in the cluster: as given, else `NODE_NAME`, else the host name (in lower case, as the kubelet
/// does it).
pub fn node_name(given: Option<&str>) -> String {
    let given = given.map(str::to_owned).or_else(|| std::env::var("NODE_NAME").ok()).filter(|name| !name.is_empty());
    given.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().to_lowercase())
}

/// The cluster as it is known now.
#[derive(Debug)]
pub struct ClusterHandle {
    published: Arc<Published>,
    tasks: TaskTracker,
}

impl ClusterHandle {
    /// What is known, for as long as the caller keeps it. Cheap; take one for each batch of events.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.snapshot.load_full()
    }

    /// How well it is known.
    pub fn state(&self) -> Arc<ClusterState> {
        self.published.state.load_full()
    }

    /// Why names are not ready; empty: they are.
    pub fn not_ready(&self) -> Vec<String> {
        self.published.state.load().not_ready()
    }

    /// Ends when all its tasks have: after the shutdown. Earlier only if the task that owns the index broke.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// Starts following the source until `shutdown`. The API server may be away meanwhile or from the start; a configuration
/// or a file that cannot be used is an error.
pub async fn spawn(
    source: MetadataSource,
    node_name: String,
    clock: BootClock,
    shutdown: CancellationToken,
) -> Result<ClusterHandle, SourceError> {
    spawn_with(source, node_name, clock, shutdown, Tuning::default()).await
}

/// Like [`spawn`], with other times.
pub async fn spawn_with(
    source: MetadataSource,
    node_name: String,
    clock: BootClock,
    shutdown: CancellationToken,
    tuning: Tuning,
) -> Result<ClusterHandle, SourceError> {
    let (name, feeds) = match source {
        MetadataSource::Api { .. } => ("api-server", &Feed::ALL[..]),
        MetadataSource::File(_) => ("file", &file::FEEDS[..]),
        MetadataSource::None => ("none", &[][..]),
    };
    let state = ClusterState::new(name, node_name.clone(), feeds, clock());
    let published = Arc::new(Published { snapshot: ArcSwap::default(), state: ArcSwap::from_pointee(state.clone()) });
    let tasks = TaskTracker::new();
    let (news, receiver) = mpsc::channel(NEWS);
    let (queries, asked) = mpsc::channel(QUERIES);
    let context = watch::Context { tuning, clock: clock.clone(), tasks: tasks.clone(), news };
    let mut keeper =
        Keeper { index: index::Index::default(), state, published: published.clone(), clock, queries: None };
    match source {
        MetadataSource::Api { kubeconfig, watch_all_pods } => {
            watch::start(&context, kubeconfig.as_deref(), watch_all_pods, &node_name, asked).await?;
            keeper.queries = Some(queries);
        }
        MetadataSource::File(path) => {
            // What it holds is known before anything starts, and an unusable one is a mistake to be told at once.
            for news in file::start(&context, path).await? {
                keeper.take(news);
            }
            keeper.publish();
        }
        MetadataSource::None => {}
    }
    drop(context);
    tasks.spawn(keeper.run(receiver, tuning.publish, shutdown));
    tasks.close();
    Ok(ClusterHandle { published, tasks })
}
