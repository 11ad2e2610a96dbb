//! Names from a file: what `kubectl get pods,services,nodes,endpointslices -A -o json` prints.
//!
//! Also a plain list of one type, as the API server sends it (`PodList`, …), and objects of other types, which are
//! passed over; of Jobs and `ReplicaSets` the owners are taken.

use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::index::Seen;
use super::object::{EndpointSlice, Kind, Meta, Node, Object, Pod, Service};
use super::state::Feed;
use super::watch::{Change, Context, News};
use crate::event::observation::Workload;

/// The feeds a file serves.
pub(super) const FEEDS: [Feed; 4] = [Feed::Pods, Feed::Services, Feed::EndpointSlices, Feed::Nodes];

/// The largest file that is read: some 5,000 pods as kubectl prints them.
const MAX_BYTES: u64 = 64 << 20;

/// The metadata file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("metadata file {}: {error}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too large.
    #[error("metadata file {}: larger than {} MiB", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// Its path.
        path: PathBuf,
    },
    /// It does not hold what it should.
    #[error("metadata file {}: {reason}; expected the output of `kubectl get pods,services,nodes,endpointslices -A -o json`", path.display())]
    Content {
        /// Its path.
        path: PathBuf,
        /// What is wrong, and with which item.
        reason: String,
    },
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    objects: Vec<Object>,
    /// Owners by UID, and their own controllers.
    owners: Vec<(String, Option<Workload>)>,
}

/// Reads the file once, and starts looking at it for changes.
pub(super) async fn start(context: &Context, path: PathBuf) -> Result<Vec<News>, FileError> {
    let (stamp, contents) = load(path.clone()).await?;
    let seen = Seen { earliest: 0, at: (context.clock)() };
    let (news, clock, tuning) = (context.news.clone(), context.clock.clone(), context.tuning);
    context.tasks.spawn(async move {
        let mut known = Some(stamp);
        loop {
            tokio::select! {
                () = tokio::time::sleep(tuning.poll) => {}
                () = news.closed() => return,
            }
            let current = std::fs::metadata(&path).ok().map(|it| Stamp::of(&it));
            if current.is_some() && current == known {
                continue;
            }
            let at = clock();
            let lag = tuning.poll + tuning.lag;
            let earliest = at.saturating_sub(u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX));
            let messages = match load(path.clone()).await {
                Ok((stamp, contents)) => {
                    known = Some(stamp);
                    messages(contents, Seen { earliest, at })
                }
                // Perhaps it is being written: what was known stays, and it is tried again once it changes.
                Err(_) if current.is_none() && known.is_none() => continue,
                Err(error) => {
                    known = current;
                    let message = error.to_string();
                    FEEDS.map(|feed| News::Trouble { feed, message: message.clone(), forbidden: false }).into()
                }
            };
            for message in messages {
                if news.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(messages(contents, seen))
}

fn messages(contents: Contents, seen: Seen) -> Vec<News> {
    let owners = contents.owners.into_iter();
    let mut news: Vec<News> = owners.map(|(uid, workload)| News::Owner { uid, workload, failed: false }).collect();
    let mut objects = contents.objects;
    for (feed, kind) in FEEDS.into_iter().zip(Kind::ALL) {
        let (these, others) = objects.into_iter().partition(|it| it.kind() == kind);
        objects = others;
        news.push(News::Listed { feed, change: Some(Change::Replace(kind, these)), seen, undecodable: 0 });
    }
    news
}

/// What tells one version of the file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() }
    }
}

async fn load(path: PathBuf) -> Result<(Stamp, Contents), FileError> {
    let reader = path.clone();
    let read = tokio::task::spawn_blocking(move || read(&reader)).await;
    read.unwrap_or_else(|error| Err(FileError::Read { path, error: std::io::Error::other(error) }))
}

fn read(path: &Path) -> Result<(Stamp, Contents), FileError> {
    let failed = |error| FileError::Read { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(failed)?;
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    let contents = parse(&bytes).map_err(|reason| FileError::Content { path: path.to_owned(), reason })?;
    Ok((stamp, contents))
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    kind: Option<String>,
    items: Option<Vec<Value>>,
}

/// Reads a list of mixed or of one type. The error says which item and what is wrong.
fn parse(bytes: &[u8]) -> Result<Contents, String> {
    let list: List =
        serde_json::from_slice(bytes).map_err(|error| format!("not a Kubernetes list in JSON: {error}"))?;
    let whole = list.kind.unwrap_or_default();
    let Some(items) = list.items else { return Err(format!("kind {whole:?} has no items: not a list")) };
    // Items of a list of one type do not repeat its kind.
    let of_all = whole.strip_suffix("List").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let mut contents = Contents::default();
    for (n, item) in items.into_iter().enumerate() {
        let kind = item.get("kind").and_then(Value::as_str).map(str::to_owned).or_else(|| of_all.clone());
        let name =
            ["namespace", "name"].map(|it| item["metadata"][it].as_str().unwrap_or("?").chars().take(253).collect());
        let [namespace, name]: [String; 2] = name;
        let at =
            |what: String| format!("item {n} (kind {}, {namespace}/{name}): {what}", kind.as_deref().unwrap_or("?"));
        let Some(kind) = kind.as_deref() else { return Err(at("it has no kind".into())) };
        let object = match kind {
            "Pod" => read_item::<Pod>(item).map(|it| it.record().map(Object::Pod)),
            "Service" => read_item::<Service>(item).map(|it| it.record().map(Object::Service)),
            "EndpointSlice" => read_item::<EndpointSlice>(item).map(|it| it.record().map(Object::EndpointSlice)),
            "Node" => read_item::<Node>(item).map(|it| it.record().map(Object::Node)),
            "Job" | "ReplicaSet" => {
                let owned: Owned = read_item(item).map_err(at)?;
                if let Some(uid) = owned.metadata.uid() {
                    let controller = owned.metadata.controller.as_ref();
                    let workload = controller.map(|it| Workload { kind: it.kind.clone(), name: it.name.clone() });
                    contents.owners.push((uid.to_owned(), workload));
                }
                continue;
            }
            _ => continue,
        };
        let object =
            object.and_then(|it| it.ok_or_else(|| "it has no metadata.name or, a Pod, no metadata.uid".into()));
        contents.objects.push(object.map_err(at)?);
    }
    Ok(contents)
}

#[derive(Deserialize)]
struct Owned {
    metadata: Meta,
}

fn read_item<T: serde::de::DeserializeOwned>(item: Value) -> Result<T, String> {
    serde_json::from_value(item).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
