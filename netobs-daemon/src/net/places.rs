//! What this node's own state says about the ends of an event: an immutable snapshot of interfaces, namespaces and
//! cgroups.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::links::Link;
use super::wanted::{Key, Wanted};
use crate::resolve::{InterfaceInfo, Places};

pub(super) type Map<K, V> = foldhash::HashMap<K, V>;

/// The snapshot. A look-up that fails asks the follower to look again; see [`super::NetHandle`].
#[derive(Debug, Default)]
pub struct PlacesSnapshot {
    pub(super) own_netns: u32,
    pub(super) links: BTreeMap<u32, Arc<Link>>,
    pub(super) interfaces: Map<u32, InterfaceInfo>,
    pub(super) netns_pods: Map<u32, Arc<str>>,
    pub(super) cgroup_pods: Map<u64, Arc<str>>,
    pub(super) state: PlacesState,
    pub(super) wanted: Option<Arc<Wanted>>,
}

/// How complete the picture is. Counters since the start unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlacesState {
    /// Links there are now.
    pub links: usize,
    /// Links there are now whose peer is in another namespace.
    pub links_to_pods: usize,
    /// Of those, the ones whose namespace could not be told.
    pub peers_unknown: usize,
    /// Other network namespaces that were found in the last look.
    pub namespaces: usize,
    /// Processes whose namespace could not be looked at in the last look.
    pub processes_denied: usize,
    /// Pods known by network namespace.
    pub netns_of_pods: usize,
    /// cgroup directories of pods known.
    pub cgroups_of_pods: usize,
    /// Where cgroup v2 is mounted.
    pub cgroup_mounts: Vec<String>,
    /// The walk of the cgroups ended at its bound in the last look.
    pub cgroups_cut_short: bool,
    /// Entries that did not fit, of all tables.
    pub left_out: u64,
    /// Looks at the node.
    pub looks: u64,
    /// Times that netlink lost news and everything was read again.
    pub resyncs: u64,
    /// Duration of the last look in microseconds.
    pub last_look_us: u64,
    /// The last error, until a look succeeds.
    pub error: Option<String>,
}

impl PlacesState {
    /// What is not known because of how the daemon runs: a sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.processes_denied > 0 && self.peers_unknown > 0 {
            problems.push(format!(
                "The network namespaces of {} processes cannot be looked at, so {} of {} pod interfaces have no known \
                 namespace: add CAP_SYS_PTRACE (and hostPID), or mount /run/netns from the host.",
                self.processes_denied, self.peers_unknown, self.links_to_pods
            ));
        } else if self.peers_unknown > 0 {
            problems.push(format!(
                "{} of {} pod interfaces lead to a namespace that no visible process or file holds: run with hostPID, \
                 or mount /run/netns from the host.",
                self.peers_unknown, self.links_to_pods
            ));
        }
        if self.cgroup_mounts.is_empty() {
            problems.push(
                "No cgroup v2 hierarchy is mounted here, so sockets name no pods: mount the host's /sys/fs/cgroup."
                    .to_owned(),
            );
        }
        if self.left_out > 0 || self.cgroups_cut_short {
            problems.push("This node has more links, namespaces or cgroups than are kept.".to_owned());
        }
        problems.extend(self.error.iter().map(|error| format!("Netlink failed: {error}.")));
        problems
    }
}

impl PlacesSnapshot {
    /// Links of the daemon's namespace, by index.
    pub fn links(&self) -> &BTreeMap<u32, Arc<Link>> {
        &self.links
    }

    /// How complete this is.
    pub fn state(&self) -> &PlacesState {
        &self.state
    }

    /// Inodes of the namespaces to observe: the daemon's own and those that its links lead to, ascending. Not every
    /// namespace with a pod: `/proc` also shows those of other nodes on this machine, where nodes are containers.
    pub fn scope_inodes(&self) -> Vec<u32> {
        let peers = self.interfaces.values().filter_map(|interface| interface.peer_netns);
        let mut inodes: Vec<u32> = peers.chain([self.own_netns]).collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes
    }

    /// Whether both say the same about the node.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.links == other.links
            && self.interfaces == other.interfaces
            && self.netns_pods == other.netns_pods
            && self.cgroup_pods == other.cgroup_pods
    }

    pub(super) fn knows(&self, key: Key) -> bool {
        match key {
            Key::Netns(inode) => self.netns_pods.contains_key(&inode),
            Key::Cgroup(id) => self.cgroup_pods.contains_key(&id),
            Key::Interface(ifindex) => self.interfaces.contains_key(&ifindex),
        }
    }

    fn miss<T>(&self, found: Option<T>, key: Key) -> Option<T> {
        if found.is_none()
            && let Some(wanted) = &self.wanted
        {
            wanted.miss(key);
        }
        found
    }
}

impl Places for PlacesSnapshot {
    fn own_netns(&self) -> u32 {
        self.own_netns
    }

    fn interface(&self, ifindex: u32) -> Option<InterfaceInfo> {
        self.miss(self.interfaces.get(&ifindex).cloned(), Key::Interface(ifindex))
    }

    fn pod_uid_of_netns(&self, inode: u32) -> Option<Arc<str>> {
        // A process of a hostNetwork pod says nothing about the namespace it shares with the host.
        if inode == 0 || inode == self.own_netns {
            return None;
        }
        self.miss(self.netns_pods.get(&inode).cloned(), Key::Netns(inode))
    }

    fn pod_uid_of_cgroup(&self, id: u64) -> Option<Arc<str>> {
        if id == 0 {
            return None;
        }
        self.miss(self.cgroup_pods.get(&id).cloned(), Key::Cgroup(id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn snapshot() -> PlacesSnapshot {
        let mut snapshot = PlacesSnapshot {
            own_netns: 10,
            wanted: Some(Arc::new(Wanted::new().unwrap())),
            ..PlacesSnapshot::default()
        };
        snapshot
            .interfaces
            .insert(3, InterfaceInfo { name: "veth3".into(), peer_netns: Some(12), pod_side_since: Some(0) });
        snapshot.netns_pods.extend([(10, "host".into()), (12, "uid".into()), (11, "uid2".into())]);
        snapshot.cgroup_pods.insert(7, "uid".into());
        snapshot
    }

    #[test]
    fn look_ups() {
        let places = snapshot();
        assert_eq!(places.pod_uid_of_netns(12).as_deref(), Some("uid"));
        assert_eq!(places.pod_uid_of_netns(10), None);
        assert_eq!(places.pod_uid_of_cgroup(7).as_deref(), Some("uid"));
        assert_eq!(places.interface(3).unwrap().peer_netns, Some(12));
        // 11 is a pod's, but no link of ours leads there.
        assert_eq!(places.scope_inodes(), [10, 12]);
        assert!(!places.wanted.as_ref().unwrap().answer());
    }

    #[test]
    fn unknowns_are_asked_for() {
        let places = snapshot();
        assert_eq!(places.pod_uid_of_cgroup(0), None);
        assert_eq!((places.pod_uid_of_netns(99), places.pod_uid_of_cgroup(8), places.interface(9)), (None, None, None));
        let keys = places.wanted.as_ref().unwrap().take();
        assert_eq!(keys, [Key::Netns(99), Key::Cgroup(8), Key::Interface(9)].into());
        assert!(keys.iter().all(|&key| !places.knows(key)));
    }

    #[test]
    fn degradation_is_said() {
        let whole = PlacesState { cgroup_mounts: vec!["/sys/fs/cgroup".to_owned()], ..PlacesState::default() };
        assert_eq!(whole.problems(), [""; 0]);
        let denied = PlacesState { processes_denied: 9, peers_unknown: 2, links_to_pods: 3, ..PlacesState::default() };
        let problems = denied.problems();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("2 of 3") && problems[0].contains("CAP_SYS_PTRACE"), "{problems:?}");
    }
}
