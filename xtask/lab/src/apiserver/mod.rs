//! A small Kubernetes API server: real list and watch over HTTP, objects of the lab, scripted misbehaviour.
//!
//! It listens on 127.0.0.1 inside the node's namespace and runs in a thread of the lab's process. It serves what
//! `store::KINDS` lists: GET of collections (selectors, limit and continue, resource versions), of single
//! objects, both also as `PartialObjectMetadata`, and watches (bookmarks, streaming lists, 410, time-outs); and POST of
//! `TokenReview`s and `SubjectAccessReview`s.

mod answer;
mod fault;
mod request;
mod reviews;
mod serve;
mod status;
mod store;
mod watch;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use fault::StreamingLists;

use fault::Faults;
use reviews::Reviews;
use serve::Server;
use store::Store;

use crate::http::Client;
use crate::node::Node;
use crate::objects;

/// Requests remembered for [`ApiServer::requests`].
const REQUESTS: usize = 10_000;
/// Time between bookmarks; real servers send one a minute.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// Kinds that [`ApiServer::sync_from`] owns: an object of these that the node does not have is deleted.
const SYNCED: [&str; 10] = [
    "Pod",
    "Service",
    "EndpointSlice",
    "Namespace",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
];
/// Label of objects put by hand, which [`ApiServer::sync_from`] leaves alone.
const BY_HAND: &str = "lab.netobs.example/by-hand";

/// What the server's tasks and its handle share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    changed: tokio::sync::watch::Sender<u64>,
    faults: Mutex<Faults>,
    reviews: Mutex<Reviews>,
    requests: Mutex<VecDeque<String>>,
    cut: Mutex<CancellationToken>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    fn bookmark_interval(&self) -> Duration {
        let interval = lock(&self.faults).bookmark_interval;
        if interval.is_zero() { BOOKMARK_INTERVAL } else { interval }
    }

    fn note(&self, request: String) {
        let mut requests = lock(&self.requests);
        if requests.len() == REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    fn connections(&self) -> CancellationToken {
        lock(&self.cut).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running API server; ends when dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
    address: SocketAddr,
    namespace: Arc<std::fs::File>,
    kubeconfig: PathBuf,
}

impl ApiServer {
    /// Starts it inside the node, on a port of the kernel's choice, with the node's objects, and writes a kubeconfig.
    pub fn start(node: &Node) -> Result<Self> {
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new()),
            changed: tokio::sync::watch::Sender::new(0),
            faults: Mutex::default(),
            reviews: Mutex::default(),
            requests: Mutex::default(),
            cut: Mutex::default(),
        });
        let namespace = node.netns().file();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let server = Server::start(Arc::clone(&shared), &namespace, any)?;
        let address = server.address();
        let kubeconfig = node.directory().join(format!("kubeconfig-{}", address.port()));
        let config = kubeconfig_for(address);
        std::fs::write(&kubeconfig, serde_json::to_vec_pretty(&config)?)
            .with_context(|| format!("writing {}", kubeconfig.display()))?;
        let api = Self { shared, server: Mutex::new(Some(server)), address, namespace, kubeconfig };
        api.sync_from(node);
        Ok(api)
    }

    /// Where it listens, inside the node's namespace.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig that leads to it. (JSON, which is YAML.)
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// An HTTP client for it.
    pub fn client(&self, node: &Node) -> Client {
        Client::tcp_in(node, self.address)
    }

    /// Makes its objects those of the node: what is new or changed is put, what is gone deleted, and watches see it.
    /// Objects put by hand stay.
    pub fn sync_from(&self, node: &Node) {
        let objects = objects::objects(node);
        let mut store = self.shared.store();
        store.retain(&SYNCED, |old| {
            old["metadata"]["labels"].get(BY_HAND).is_some()
                || objects.iter().any(|new| {
                    ["kind", "apiVersion"].iter().all(|field| new[field] == old[field])
                        && ["name", "namespace"].iter().all(|field| new["metadata"][field] == old["metadata"][field])
                })
        });
        for object in objects {
            store.put(object);
        }
        self.announce(&store);
    }

    /// Puts any object, which must have kind, apiVersion and a name. [`ApiServer::sync_from`] leaves it alone, and so
    /// it gets a label of ours.
    pub fn put(&self, mut object: Value) {
        object["metadata"]["labels"][BY_HAND] = json!("");
        let mut store = self.shared.store();
        store.put(object);
        self.announce(&store);
    }

    /// Deletes an object (namespace empty for a Node). Whether there was one.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let mut store = self.shared.store();
        let there = store.delete(kind, namespace, name);
        self.announce(&store);
        there
    }

    /// The current resource version.
    pub fn resource_version(&self) -> u64 {
        self.shared.store().version()
    }

    fn announce(&self, store: &Store) {
        self.shared.changed.send_replace(store.version());
    }

    /// Requests so far (method, path and query), oldest first; the last ten thousand.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).iter().cloned().collect()
    }

    /// From now on this token is this user's, as a `TokenReview` is told.
    pub fn know_token(&self, token: &str, user: &str) {
        lock(&self.shared.reviews).know(token, user);
    }

    /// From now on this user may `get` this path, as a `SubjectAccessReview` is told.
    pub fn allow_path(&self, user: &str, path: &str) {
        lock(&self.shared.reviews).allow(user, path);
    }

    /// Goes away (connections are cut, new ones refused) or comes back at the same address.
    pub fn set_away(&self, away: bool) -> Result<()> {
        let mut server = lock(&self.server);
        if away {
            *server = None;
        } else if server.is_none() {
            *server = Some(Server::start(Arc::clone(&self.shared), &self.namespace, self.address)?);
        }
        Ok(())
    }

    /// Waits this long before each answer from now on.
    pub fn slow(&self, delay: Duration) {
        lock(&self.shared.faults).delay = delay;
    }

    /// Answers every request like this from now on; 429 gets a Retry-After. `None` ends it.
    pub fn fail_with(&self, failure: Option<(u16, &str)>) {
        lock(&self.shared.faults).failure = failure.map(|(code, body)| (code, body.to_owned()));
    }

    /// Behaves as if these groups (`discovery.k8s.io/v1`) did not exist.
    pub fn hide_groups(&self, groups: &[&str]) {
        lock(&self.shared.faults).hidden_groups = groups.iter().map(|&group| group.to_owned()).collect();
    }

    /// What to do about streaming lists from now on.
    pub fn streaming_lists(&self, behaviour: StreamingLists) {
        lock(&self.shared.faults).streaming_lists = behaviour;
    }

    /// Time between bookmarks of watches.
    pub fn bookmark_every(&self, interval: Duration) {
        lock(&self.shared.faults).bookmark_interval = interval;
    }

    /// Cuts all connections there are, in the middle of whatever they do.
    pub fn cut_connections(&self) {
        std::mem::take(&mut *lock(&self.shared.cut)).cancel();
    }

    /// Forgets all history: a watch that starts at an older version is told 410, as after an etcd compaction.
    pub fn compact(&self) {
        self.shared.store().compact();
    }
}

fn kubeconfig_for(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "lab", "user": {}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
    })
}
