//! Plain lists: the fall-back from streaming, and the occasional list of all nodes.

use std::time::Duration;

use kube::api::{Api, ListParams, VersionMatch};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::backoff::{Backoff, jitter};
use super::client::Failure;
use super::news::{Change, Lag, News};
use super::stream::Watched;
use super::{BootClock, Tuning};
use crate::cluster::object::{Kind, Node, Object};
use crate::cluster::state::Feed;

/// A list from the API server's cache (`resourceVersion=0`), which costs its database nothing. The answer: the objects,
/// how many more could not be used, and the version to watch from.
pub(super) async fn list<K: Watched>(
    api: &Api<K>,
    fields: Option<String>,
    answer: Duration,
) -> Result<(Vec<Object>, u64, String), Failure> {
    let mut params = ListParams {
        field_selector: fields,
        resource_version: Some("0".into()),
        version_match: Some(VersionMatch::NotOlderThan),
        ..ListParams::default()
    };
    let (mut objects, mut unusable) = (Vec::new(), 0);
    loop {
        let page = match timeout(answer, api.list(&params)).await {
            Ok(page) => page.map_err(|error| Failure::of(&error))?,
            Err(_) => return Err(Failure::new(format!("no answer to a list within {answer:?}"))),
        };
        let before = objects.len() as u64 + page.items.len() as u64;
        objects.extend(page.items.into_iter().filter_map(Watched::object));
        unusable += before - objects.len() as u64;
        if let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) {
            params.continue_token = Some(token);
            continue;
        }
        let version = page.metadata.resource_version.filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| Failure::new("the list has no resourceVersion"))?;
        return Ok((objects, unusable, version));
    }
}

/// Lists all nodes now and then, for their addresses.
pub(super) async fn follow_nodes(api: Api<Node>, tuning: Tuning, clock: BootClock, news: mpsc::Sender<News>) {
    let feed = Feed::Nodes;
    let mut backoff = Backoff::new(tuning.backoff_first, tuning.backoff_cap);
    let mut lag = Lag::default();
    loop {
        let (messages, wait) = match list(&api, None, tuning.answer).await {
            Ok((objects, undecodable, _)) => {
                backoff.reset();
                let wait = pause(objects.len());
                let seen = lag.replaced(clock(), tuning.lag);
                let change = Some(Change::Replace(Kind::Node, objects));
                (vec![News::Listed { feed, change, seen, undecodable }, News::Well { feed }], wait)
            }
            Err(failure) => {
                let wait = backoff.wait(failure.retry_after);
                let forbidden = failure.code == Some(403);
                (vec![News::Trouble { feed, message: failure.message, forbidden }], wait)
            }
        };
        for message in messages {
            if news.send(message).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = news.closed() => return,
        }
    }
}

/// Between two lists of all nodes. Each of n daemons reads n objects of some 10 KB; with a pause of n²/1000 s all of them
/// together read 10 MB/s at most (5,000 nodes: every 7 hours), and not more often than every 10 minutes.
fn pause(nodes: usize) -> Duration {
    let seconds = (nodes * nodes / 1000).clamp(600, 12 * 3600);
    Duration::from_secs(seconds as u64).mul_f64(0.9 + 0.2 * jitter())
}
