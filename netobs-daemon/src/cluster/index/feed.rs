//! What each type of object does to the index.

use std::net::IpAddr;
use std::sync::Arc;

use super::Index;
use super::claims::{Layer, Seen, Who};
use crate::cluster::object::{Key, NodeRecord, PodRecord, ServiceRecord, SliceRecord};
use crate::event::observation::Pod;

/// A claim that an object holds: it must be ended when the object no longer makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    ip: IpAddr,
    layer: Layer,
    id: Arc<str>,
}

/// A pod of the index.
#[derive(Debug)]
pub(super) struct PodEntry {
    pub(super) record: PodRecord,
    id: Arc<str>,
    pod: Arc<Pod>,
    held: Vec<Held>,
}

impl Index {
    pub(super) fn apply_pod(&mut self, record: PodRecord, seen: Seen) {
        if self.pods.get(&record.key).is_some_and(|old| old.record.uid != record.uid) {
            // Another pod of the same name: the end of the first was missed.
            self.delete_pod(&record.key.clone(), seen);
        }
        let old = self.pods.remove(&record.key);
        let pod = self.build(&record, old.as_ref().map(|old| &old.pod));
        let id: Arc<str> = old.as_ref().map_or_else(|| record.uid.as_str().into(), |old| old.id.clone());
        let old_held = old.as_ref().map_or(&[][..], |old| &old.held);
        let whose = if record.finished {
            None
        } else if record.host_network {
            record.node.as_deref().map(|node| (Layer::Node, Who::Node(node.into())))
        } else {
            Some((Layer::Pod, Who::Pod { id: id.clone(), pod: pod.clone() }))
        };
        let claimed = whose.iter().flat_map(|(layer, who)| record.ips.iter().map(move |ip| (*ip, *layer, who.clone())));
        let held = self.reclaim(old_held, claimed.collect(), seen);
        let entry = PodEntry { record, id, pod, held };
        self.show_pod(&entry);
        self.pods.insert(entry.record.key.clone(), entry);
    }

    /// Describes a pod anew, its workload being known now.
    pub(super) fn describe_pod(&mut self, key: &Key) {
        let Some(mut entry) = self.pods.remove(key) else { return };
        entry.pod = self.build(&entry.record, Some(&entry.pod));
        self.show_pod(&entry);
        self.pods.insert(entry.record.key.clone(), entry);
    }

    /// Lets readers find the present description of a pod.
    fn show_pod(&mut self, entry: &PodEntry) {
        let aliases = entry.record.aliases.iter().map(|alias| alias.as_str().into());
        for id in aliases.chain([entry.id.clone()]) {
            if self.by_uid.get(&id).is_none_or(|shown| !Arc::ptr_eq(shown, &entry.pod)) {
                self.by_uid.insert(id, entry.pod.clone());
            }
        }
        let who = Who::Pod { id: entry.id.clone(), pod: entry.pod.clone() };
        for held in entry.held.iter().filter(|held| held.layer == Layer::Pod) {
            self.claims.describe(held.ip, Layer::Pod, &who);
        }
        if entry.record.finished {
            self.running.remove(&entry.record.key);
        } else {
            self.running.insert(entry.record.key.clone(), entry.pod.clone());
        }
    }

    pub(super) fn delete_pod(&mut self, key: &Key, seen: Seen) {
        let Some(entry) = self.pods.remove(key) else { return };
        self.running.remove(key);
        self.release(&entry.held, seen);
        for alias in &entry.record.aliases {
            self.retain_gone(alias.as_str().into(), entry.pod.clone(), seen.at);
        }
        self.retain_gone(entry.id, entry.pod, seen.at);
    }

    pub(super) fn apply_service(&mut self, record: ServiceRecord) {
        if self.services.get(&record.key) == Some(&record) {
            return;
        }
        self.delete_service(&record.key);
        self.counters.over_limit += self.by_address.add(&record);
        self.services.insert(record.key.clone(), record);
    }

    pub(super) fn delete_service(&mut self, key: &Key) {
        if let Some(old) = self.services.remove(key) {
            self.by_address.remove(&old);
        }
    }

    pub(super) fn apply_slice(&mut self, record: SliceRecord, seen: Seen) {
        let old = self.slices.remove(&record.key).unwrap_or_default();
        let mut claimed = Vec::with_capacity(record.endpoints.len());
        for endpoint in record.endpoints {
            let id: Arc<str> = match &endpoint.uid {
                Some(uid) => uid.as_str().into(),
                None => format!("{}/{}", endpoint.pod.namespace, endpoint.pod.name).into(),
            };
            // One description for one pod, however many slices name it.
            let pod = self.by_uid.get(&id).cloned().unwrap_or_else(|| {
                Arc::new(Pod {
                    namespace: endpoint.pod.namespace,
                    name: endpoint.pod.name,
                    uid: endpoint.uid,
                    node: endpoint.node,
                    workload: None,
                })
            });
            claimed.push((endpoint.ip, Layer::Slice, Who::Pod { id, pod }));
        }
        let held = self.reclaim(&old, claimed, seen);
        self.slices.insert(record.key, held);
    }

    pub(super) fn apply_node(&mut self, record: NodeRecord, seen: Seen) {
        let old = self.nodes.remove(&record.key).unwrap_or_default();
        let name: Arc<str> = record.key.name.as_str().into();
        let claimed = record.ips.iter().map(|ip| (*ip, Layer::Node, Who::Node(name.clone()))).collect();
        let held = self.reclaim(&old, claimed, seen);
        self.nodes.insert(record.key, held);
    }

    pub(super) fn release(&mut self, held: &[Held], seen: Seen) {
        for Held { ip, layer, id } in held {
            self.claims.end(*ip, *layer, id, seen);
        }
    }

    /// Ends what is no longer claimed, begins what was not claimed before; the answer is what is held now.
    fn reclaim(&mut self, old: &[Held], claimed: Vec<(IpAddr, Layer, Who)>, seen: Seen) -> Vec<Held> {
        let mut kept = vec![false; old.len()];
        let at: std::collections::HashMap<(IpAddr, &str), usize> =
            old.iter().enumerate().map(|(n, held)| ((held.ip, &*held.id), n)).collect();
        let mut fresh = Vec::new();
        for (ip, layer, who) in claimed {
            match at.get(&(ip, &**who.id())).filter(|&&n| old[n].layer == layer) {
                Some(&n) => kept[n] = true,
                None => fresh.push((ip, layer, who)),
            }
        }
        for (held, _) in old.iter().zip(&kept).filter(|(_, kept)| !**kept) {
            self.claims.end(held.ip, held.layer, &held.id, seen);
        }
        let mut now: Vec<Held> = old.iter().zip(kept).filter(|(_, kept)| *kept).map(|(held, _)| held.clone()).collect();
        let mut begun = std::collections::HashSet::new();
        for (ip, layer, who) in fresh {
            if begun.insert((ip, who.id().clone())) && self.claims.begin(ip, layer, &who, seen) {
                now.push(Held { ip, layer, id: who.id().clone() });
            }
        }
        now
    }

    fn build(&mut self, record: &PodRecord, old: Option<&Arc<Pod>>) -> Arc<Pod> {
        let pod = Pod {
            namespace: record.key.namespace.clone(),
            name: record.key.name.clone(),
            uid: Some(record.uid.clone()),
            node: record.node.clone(),
            workload: self.owners.workload(record),
        };
        match old {
            Some(old) if **old == pod => old.clone(),
            _ => Arc::new(pod),
        }
    }
}
