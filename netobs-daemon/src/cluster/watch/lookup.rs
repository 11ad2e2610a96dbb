//! Looks up the controllers of owners, one at a time, off the path of everything else.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ObjectMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Tuning;
use super::backoff::Backoff;
use super::client::Failure;
use super::news::News;
use crate::cluster::index::OwnerQuery;
use crate::event::observation::Workload;

/// Tries for one owner, when the API server does not answer.
const TRIES: u32 = 3;

/// Answers queries until there are no more. Whatever fails leaves the owner itself as the workload.
pub(super) async fn run(
    client: Client,
    tuning: Tuning,
    mut queries: mpsc::Receiver<OwnerQuery>,
    news: mpsc::Sender<News>,
) {
    while let Some(query) = queries.recv().await {
        let mut backoff = Backoff::new(tuning.backoff_first, tuning.backoff_cap);
        let mut found = Err(Failure::new("not tried"));
        for attempt in 1..=TRIES {
            found = look_up(&client, &query, tuning.answer).await;
            match &found {
                // No answer, too many requests or a server error: worth another try.
                Err(failure) if attempt < TRIES && failure.code.is_none_or(|code| code == 429 || code >= 500) => {
                    let wait = backoff.wait(failure.retry_after);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = news.closed() => return,
                    }
                }
                _ => break,
            }
        }
        if let Err(failure) = &found {
            let (kind, name) = (&query.owner.kind, &query.owner.name);
            tracing::debug!(kind, name, namespace = query.namespace, error = failure.message, "owner not looked up");
        }
        let failed = found.is_err();
        let workload = found.unwrap_or_default();
        if news.send(News::Owner { uid: query.owner.uid, workload, failed }).await.is_err() {
            return;
        }
    }
}

async fn look_up(client: &Client, query: &OwnerQuery, answer: Duration) -> Result<Option<Workload>, Failure> {
    let metadata = match query.owner.kind.as_str() {
        "Job" => metadata::<Job>(client, query, answer).await?,
        _ => metadata::<ReplicaSet>(client, query, answer).await?,
    };
    if metadata.uid.as_deref() != Some(query.owner.uid.as_str()) {
        return Err(Failure::new("another object of that name by now"));
    }
    let mut owners = metadata.owner_references.unwrap_or_default().into_iter();
    let controller = owners.find(|owner| owner.controller == Some(true));
    Ok(controller.map(|owner| Workload { kind: owner.kind, name: owner.name }))
}

async fn metadata<K>(client: &Client, query: &OwnerQuery, answer: Duration) -> Result<ObjectMeta, Failure>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &query.namespace);
    match timeout(answer, api.get_metadata(&query.owner.name)).await {
        Ok(Ok(object)) => Ok(object.metadata),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(_) => Err(Failure::new(format!("no answer within {answer:?}"))),
    }
}
