//! What the API server knows: objects, one resource version for all, and a bounded log of changes for watches. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

/// Changes kept for watches; a watch that starts before the oldest is told 410.
const LOG_LIMIT: usize = 4096;
/// Lists kept for `continue`; a token of an older one is told 410.
const SNAPSHOT_LIMIT: usize = 64;

/// A resource of the API: `v1` + `pods`, `apps/v1` + `replicasets`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) group_version: String,
    pub(super) plural: String,
}

impl Resource {
    /// The resource that holds objects of this kind, if it is served.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let (group_version, plural, _) =
            KINDS.iter().find(|(gv, _, kind)| object["apiVersion"] == *gv && object["kind"] == *kind)?;
        Some(Self { group_version: (*group_version).to_owned(), plural: (*plural).to_owned() })
    }

    /// Kind of the objects, for lists and bookmarks even where there is no object.
    pub(super) fn kind(&self) -> Option<&'static str> {
        KINDS
            .iter()
            .find(|(gv, plural, _)| *gv == self.group_version && *plural == self.plural)
            .map(|(_, _, kind)| *kind)
    }
}

/// The resources that are served.
const KINDS: [(&str, &str, &str); 14] = [
    ("v1", "pods", "Pod"),
    ("v1", "services", "Service"),
    ("v1", "nodes", "Node"),
    ("v1", "namespaces", "Namespace"),
    ("v1", "endpoints", "Endpoints"),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice"),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    ("networking.k8s.io/v1", "ingresses", "Ingress"),
    ("apps/v1", "replicasets", "ReplicaSet"),
    ("apps/v1", "deployments", "Deployment"),
    ("apps/v1", "statefulsets", "StatefulSet"),
    ("apps/v1", "daemonsets", "DaemonSet"),
    ("batch/v1", "jobs", "Job"),
    ("batch/v1", "cronjobs", "CronJob"),
];

/// Whether any resource of this group and version is served.
pub(super) fn serves_group(group_version: &str) -> bool {
    KINDS.iter().any(|(gv, ..)| *gv == group_version)
}

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) resource: Resource,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

type Key = (Resource, String, String);

/// The rest of a list that was cut by `limit`: the items and the resource version it was made at.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) items: Vec<Arc<Value>>,
}

/// All objects.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    oldest: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    snapshots: BTreeMap<u64, Snapshot>,
    next_snapshot: u64,
}

impl Store {
    pub(super) const fn new() -> Self {
        // Real servers are never at a small version; and 1 must be "too old" from the start.
        Self {
            version: 1000,
            oldest: 1000,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            snapshots: BTreeMap::new(),
            next_snapshot: 1,
        }
    }

    /// The current resource version.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version a watch may start at.
    pub(super) const fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Adds or replaces an object; nothing happens if it is the same already. Whether something changed; objects
    /// without a name or of a kind that is not served are ignored.
    pub(super) fn put(&mut self, mut object: Value) -> bool {
        let Some(key) = key(&object) else { return false };
        let before = self.objects.get(&key).cloned();
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if **before == object {
                return false;
            }
            // One name with another uid is another object: the old one was deleted in between.
            if before["metadata"]["uid"] != object["metadata"]["uid"] {
                self.remove(&key);
                return self.put(object);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let after = Arc::new(object);
        self.objects.insert(key.clone(), Arc::clone(&after));
        self.record(Change { version: self.version, resource: key.0, before, after: Some(after) });
        true
    }

    /// Deletes an object. Whether there was one.
    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = self.objects.iter().find_map(|(key, object)| {
            (object["kind"] == kind && key.1 == namespace && key.2 == name).then(|| key.clone())
        });
        key.is_some_and(|key| self.remove(&key))
    }

    /// Deletes all objects of these kinds that `keep` does not want.
    pub(super) fn retain(&mut self, kinds: &[&str], keep: impl Fn(&Value) -> bool) {
        let gone: Vec<Key> = self
            .objects
            .iter()
            .filter(|(_, object)| kinds.iter().any(|kind| object["kind"] == *kind) && !keep(object))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        let Some(before) = self.objects.remove(key) else { return false };
        self.version += 1;
        // The object of a DELETED event carries the version of the deletion.
        let mut last = (*before).clone();
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.record(Change {
            version: self.version,
            resource: key.0.clone(),
            before: Some(Arc::new(last)),
            after: None,
        });
        true
    }

    fn record(&mut self, change: Change) {
        self.log.push_back(change);
        if self.log.len() > LOG_LIMIT
            && let Some(old) = self.log.pop_front()
        {
            self.oldest = old.version;
        }
    }

    /// Forgets all history, as an etcd compaction does.
    pub(super) fn compact(&mut self) {
        self.log.clear();
        self.snapshots.clear();
        self.oldest = self.version;
    }

    /// All objects of a resource, by namespace and name.
    pub(super) fn list<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = &'a Arc<Value>> {
        self.objects.iter().filter(move |(key, _)| key.0 == *resource).map(|(_, object)| object)
    }

    /// One object.
    pub(super) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&(resource.clone(), namespace.to_owned(), name.to_owned()))
    }

    /// Changes of a resource after a version; `None` if some are forgotten.
    pub(super) fn since(&self, resource: &Resource, version: u64) -> Option<Vec<Change>> {
        (version >= self.oldest)
            .then(|| self.log.iter().filter(|c| c.version > version && c.resource == *resource).cloned().collect())
    }

    /// Keeps the rest of a list and returns its token.
    pub(super) fn keep(&mut self, snapshot: Snapshot) -> u64 {
        let token = self.next_snapshot;
        self.next_snapshot += 1;
        self.snapshots.insert(token, snapshot);
        while self.snapshots.len() > SNAPSHOT_LIMIT {
            self.snapshots.pop_first();
        }
        token
    }

    /// Takes the rest of a list.
    pub(super) fn resume(&mut self, token: u64) -> Option<Snapshot> {
        self.snapshots.remove(&token)
    }
}

fn key(object: &Value) -> Option<Key> {
    let name = object["metadata"]["name"].as_str()?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    Some((Resource::of(object)?, namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn pod(name: &str, uid: &str) -> Value {
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "shop", "uid": uid}})
    }

    fn pods() -> Resource {
        Resource { group_version: "v1".into(), plural: "pods".into() }
    }

    #[test]
    fn plurals_and_kinds_agree() {
        for (group_version, plural, kind) in KINDS {
            let resource = Resource::of(&json!({"kind": kind, "apiVersion": group_version})).unwrap();
            assert_eq!(resource.plural, plural);
            assert_eq!(resource.kind(), Some(kind));
        }
    }

    #[test]
    fn a_new_uid_is_a_deletion_and_an_addition() {
        let mut store = Store::new();
        assert!(store.put(pod("a", "1")));
        assert!(!store.put(pod("a", "1")));
        let version = store.version();
        assert!(store.put(pod("a", "2")));
        let changes = store.since(&pods(), version).unwrap();
        assert_eq!(changes.len(), 2);
        assert!(changes[0].after.is_none());
        assert!(changes[1].before.is_none());
    }

    #[test]
    fn forgotten_history_is_said() {
        let mut store = Store::new();
        store.put(pod("a", "1"));
        let version = store.version();
        store.put(pod("b", "2"));
        store.compact();
        assert!(store.since(&pods(), version).is_none());
        assert!(store.since(&pods(), store.version()).is_some());
        for number in 0..=LOG_LIMIT {
            store.put(pod("a", &number.to_string()));
        }
        assert!(store.oldest() > version);
        assert_eq!(store.log.len(), LOG_LIMIT);
    }
}
