//! The index of the cluster's objects: fed with apply, delete and replace, read through [`Snapshot`]s.
//!
//! It knows nothing of the API server; the time of each change comes with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use self::claims::{ClaimTable, HISTORY_ENTRIES};
use self::cow::CowMap;
use self::owners::Owners;
use self::services::Services;
use super::object::{Key, Kind, Object, ServiceRecord};
use crate::event::observation::{Pod, Workload};

mod claims;
mod cow;
mod feed;
mod owners;
mod services;
mod snapshot;

pub use claims::{HISTORY_NS, Seen};
pub use owners::OwnerQuery;
pub use snapshot::Snapshot;

/// Objects of each type that are kept at most; twice and more what the largest supported cluster (5,000 nodes, 150,000
/// pods, 10,000 Services) has.
const fn limit(kind: Kind) -> usize {
    match kind {
        Kind::Pod => 300_000,
        Kind::Service | Kind::Node => 30_000,
        Kind::EndpointSlice => 100_000,
    }
}

/// What did not fit or could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct IndexCounters {
    /// Fields of objects (addresses, ports) that could not be read, each time they came.
    pub malformed: u64,
    /// Objects, and claims to one address, that were beyond their limit.
    pub over_limit: u64,
    /// Ended claims to an address and pods that are gone, forgotten before their time.
    pub history_evicted: u64,
    /// Owners looked up and forgotten for want of room.
    pub owners_evicted: u64,
}

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    pods: HashMap<Key, feed::PodEntry>,
    services: HashMap<Key, ServiceRecord>,
    slices: HashMap<Key, Vec<feed::Held>>,
    nodes: HashMap<Key, Vec<feed::Held>>,
    claims: ClaimTable,
    by_address: Services,
    by_uid: CowMap<Arc<str>, Arc<Pod>>,
    /// Pods that exist and have not finished.
    running: CowMap<Key, Arc<Pod>>,
    /// Pods that are gone: when, the UID or alias they are still found by, and the pod.
    gone: VecDeque<(u64, Arc<str>, Arc<Pod>)>,
    owners: Owners,
    counters: IndexCounters,
}

impl Index {
    /// An object is there, as given. A newer version replaces an older one.
    pub fn apply(&mut self, object: Object, seen: Seen) {
        self.counters.malformed += u64::from(object.malformed());
        if self.objects(object.kind()) >= limit(object.kind()) && !self.has(object.kind(), object.key()) {
            self.counters.over_limit += 1;
            return;
        }
        match object {
            Object::Pod(pod) => self.apply_pod(pod, seen),
            Object::Service(service) => self.apply_service(service),
            Object::EndpointSlice(slice) => self.apply_slice(slice, seen),
            Object::Node(node) => self.apply_node(node, seen),
        }
    }

    /// An object is gone. What it claimed stays known for [`HISTORY_NS`].
    pub fn delete(&mut self, kind: Kind, key: &Key, seen: Seen) {
        match kind {
            Kind::Pod => self.delete_pod(key, seen),
            Kind::Service => self.delete_service(key),
            Kind::EndpointSlice => {
                let held = self.slices.remove(key).unwrap_or_default();
                self.release(&held, seen);
            }
            Kind::Node => {
                let held = self.nodes.remove(key).unwrap_or_default();
                self.release(&held, seen);
            }
        }
    }

    /// The whole list of a type: what is not in it is gone.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Object>, seen: Seen) {
        let listed: HashSet<&Key> = objects.iter().filter(|it| it.kind() == kind).map(Object::key).collect();
        let gone: Vec<Key> = match kind {
            Kind::Pod => self.pods.keys().filter(|key| !listed.contains(key)).cloned().collect(),
            Kind::Service => self.services.keys().filter(|key| !listed.contains(key)).cloned().collect(),
            Kind::EndpointSlice => self.slices.keys().filter(|key| !listed.contains(key)).cloned().collect(),
            Kind::Node => self.nodes.keys().filter(|key| !listed.contains(key)).cloned().collect(),
        };
        for key in gone {
            self.delete(kind, &key, seen);
        }
        for object in objects.into_iter().filter(|it| it.kind() == kind) {
            self.apply(object, seen);
        }
    }

    /// The controller of an owner was looked up; `None`: it has none, or it could not be read.
    pub fn learn_owner(&mut self, uid: &str, workload: Option<Workload>) {
        self.owners.learn(uid, workload);
        let keys: Vec<Key> = self
            .pods
            .iter()
            .filter(|(_, entry)| entry.record.controller.as_ref().is_some_and(|owner| owner.uid == uid))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.describe_pod(&key);
        }
    }

    /// The next owner whose metadata is to be looked up.
    pub fn next_wanted(&mut self) -> Option<OwnerQuery> {
        self.owners.next_wanted()
    }

    /// Forgets what ended too long ago; to be called every second or so.
    pub fn expire(&mut self, now: u64) {
        self.claims.expire(now);
        while self.gone.front().is_some_and(|(at, ..)| at.saturating_add(HISTORY_NS) <= now) {
            self.forget_oldest_gone();
        }
    }

    /// A copy for readers.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            claims: self.claims.claims.clone(),
            services: self.by_address.clone(),
            pods: self.by_uid.clone(),
            running: self.running.clone(),
            objects: Kind::ALL.into_iter().map(|kind| self.objects(kind)).sum(),
        }
    }

    /// Objects of a type.
    pub fn objects(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pod => self.pods.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
            Kind::Node => self.nodes.len(),
        }
    }

    /// What did not fit or could not be read.
    pub fn counters(&self) -> IndexCounters {
        IndexCounters {
            over_limit: self.counters.over_limit + self.claims.over_limit,
            history_evicted: self.counters.history_evicted + self.claims.history_evicted,
            owners_evicted: self.owners.evicted,
            ..self.counters
        }
    }

    fn has(&self, kind: Kind, key: &Key) -> bool {
        match kind {
            Kind::Pod => self.pods.contains_key(key),
            Kind::Service => self.services.contains_key(key),
            Kind::EndpointSlice => self.slices.contains_key(key),
            Kind::Node => self.nodes.contains_key(key),
        }
    }

    fn retain_gone(&mut self, id: Arc<str>, pod: Arc<Pod>, at: u64) {
        self.gone.push_back((at, id, pod));
        if self.gone.len() > HISTORY_ENTRIES {
            self.counters.history_evicted += 1;
            self.forget_oldest_gone();
        }
    }

    fn forget_oldest_gone(&mut self) {
        let Some((_, id, pod)) = self.gone.pop_front() else { return };
        // A static pod's config hash may have a new mirror pod by now.
        if self.by_uid.get(&id).is_some_and(|current| Arc::ptr_eq(current, &pod)) {
            self.by_uid.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
