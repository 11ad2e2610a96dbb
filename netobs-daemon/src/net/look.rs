//! One look at the node: peers, namespaces and cgroups, put together into a snapshot.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use super::cgroups;
use super::lingering::Lingering;
use super::links::{Link, LinkTable};
use super::namespaces::{self, Namespace};
use super::places::{PlacesSnapshot, PlacesState};
use super::rtnetlink::nsid;
use super::rtnetlink::socket::Asker;
use super::wanted::Wanted;
use crate::resolve::InterfaceInfo;

/// Entries kept of each kind, those that linger included.
const MAX_INTERFACES: usize = 32_768;
const MAX_NETNS: usize = 8192;
const MAX_CGROUPS: usize = 32_768;

/// What lasts from look to look.
pub(super) struct Looker {
    own_netns: u32,
    interfaces: Lingering<u32, InterfaceInfo>,
    netns_pods: Lingering<u32, Arc<str>>,
    cgroup_pods: Lingering<u64, Arc<str>>,
    looks: u64,
    left_out: u64,
}

impl Looker {
    pub(super) fn new(own_netns: u32) -> Self {
        Self {
            own_netns,
            interfaces: Lingering::new(MAX_INTERFACES),
            netns_pods: Lingering::new(MAX_NETNS),
            cgroup_pods: Lingering::new(MAX_CGROUPS),
            looks: 0,
            left_out: 0,
        }
    }

    /// Looks. `resyncs` and `error` are the follower's own, for the state.
    pub(super) fn look(
        &mut self,
        asker: &mut Asker,
        table: &LinkTable,
        wanted: &Arc<Wanted>,
        (resyncs, error): (u64, Option<String>),
    ) -> PlacesSnapshot {
        let start = Instant::now();
        let namespaces = namespaces::scan(self.own_netns);
        let links = table.links();
        let peers = if links.values().any(|link| link.peer_nsid.is_some()) {
            ids(asker, &namespaces.found)
        } else {
            HashMap::new()
        };
        let peer = |link: &Link| link.peer_nsid.and_then(|id| peers.get(&id).copied());
        self.interfaces.replace(
            start,
            links
                .values()
                .map(|link| (link.ifindex, InterfaceInfo { name: Arc::clone(&link.name), peer_netns: peer(link) })),
        );
        let pods = namespaces.found.iter();
        self.netns_pods
            .replace(start, pods.filter_map(|(&inode, namespace)| Some((inode, Arc::clone(namespace.pod()?)))));
        let cgroups = cgroups::scan();
        self.cgroup_pods.replace(start, cgroups.pods);

        self.looks += 1;
        self.left_out += namespaces.left_out as u64;
        let tables = self.interfaces.left_out() + self.netns_pods.left_out() + self.cgroup_pods.left_out();
        let mut snapshot = PlacesSnapshot {
            own_netns: self.own_netns,
            links: links.clone(),
            interfaces: self.interfaces.all(),
            netns_pods: self.netns_pods.all(),
            cgroup_pods: self.cgroup_pods.all(),
            state: PlacesState::default(),
            wanted: Some(Arc::clone(wanted)),
        };
        let elsewhere = || links.values().filter(|link| link.peer_nsid.is_some());
        snapshot.state = PlacesState {
            links: links.len(),
            links_to_pods: elsewhere().count(),
            peers_unknown: elsewhere().filter(|link| peer(link).is_none()).count(),
            namespaces: namespaces.found.len(),
            processes_denied: namespaces.denied,
            netns_of_pods: snapshot.netns_pods.len(),
            cgroups_of_pods: snapshot.cgroup_pods.len(),
            cgroup_mounts: cgroups.mounts.iter().map(|mount| mount.display().to_string()).collect(),
            cgroups_cut_short: cgroups.cut_short,
            left_out: self.left_out + tables + table.left_out() + wanted.left_out(),
            looks: self.looks,
            resyncs,
            last_look_us: start.elapsed().as_micros() as u64,
            error,
        };
        snapshot
    }
}

/// Inode by the id that the daemon's namespace has for it, of the namespaces that can be opened. The kernel gives a
/// namespace an id when it first mentions it, so one without an id is no link's peer.
fn ids(asker: &mut Asker, namespaces: &HashMap<u32, Namespace>) -> HashMap<i32, u32> {
    let mut ids = HashMap::with_capacity(namespaces.len());
    for (&inode, namespace) in namespaces {
        let Some(file) = namespace.open(inode) else { continue };
        let answer = asker.ask(nsid::RTM_GETNSID, &nsid::request(file.as_fd()), |message| nsid::parse(message.payload));
        if let Ok(Some(id)) = answer {
            ids.insert(id, inode);
        }
    }
    ids
}
