//! One look at the node: peers, namespaces and cgroups, put together into a snapshot.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::cgroups;
use super::lingering::Lingering;
use super::links::{Link, LinkEvent, LinkTable};
use super::namespaces::{self, Namespace};
use super::places::{PlacesSnapshot, PlacesState};
use super::role::Role;
use super::rtnetlink::nsid;
use super::wanted::Wanted;
use crate::kernel::clock;
use crate::netlink::socket::Asker;
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
    /// Name and pod of the namespaces of the last look that a name of their own holds.
    held: HashMap<u32, (PathBuf, Arc<str>)>,
    /// When links were first seen that came after the first look, `CLOCK_BOOTTIME` nanoseconds.
    born: HashMap<u32, u64>,
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
            held: HashMap::new(),
            born: HashMap::new(),
            looks: 0,
            left_out: 0,
        }
    }

    /// Takes note of links that came and went.
    pub(super) fn note(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Added(link) if self.looks > 0 => drop(self.born.insert(link.ifindex, clock::boot_ns())),
            LinkEvent::Removed(link) => drop(self.born.remove(&link.ifindex)),
            LinkEvent::Added(_) | LinkEvent::Changed(_) => {}
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
            links.values().map(|link| {
                let since = self.born.get(&link.ifindex).copied().unwrap_or(0);
                let interface = InterfaceInfo {
                    name: Arc::clone(&link.name),
                    peer_netns: peer(link),
                    pod_side_since: (link.role == Role::PodSide).then_some(since),
                };
                (link.ifindex, interface)
            }),
        );
        let pods = self.pods(&namespaces.found);
        self.netns_pods.replace(start, pods);
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

impl Looker {
    /// Whose the namespaces are that are there now. One without processes is still the pod's whose it was if the same
    /// name holds it (a sandbox that is being taken down); otherwise it may be the next pod's with the same inode, and
    /// nobody's until a process says so.
    fn pods(&mut self, namespaces: &HashMap<u32, Namespace>) -> Vec<(u32, Arc<str>)> {
        let before = std::mem::take(&mut self.held);
        let mut pods = Vec::with_capacity(namespaces.len());
        for (&inode, namespace) in namespaces {
            let name = namespace.unique_name();
            let earlier = || {
                let (known, pod) = before.get(&inode)?;
                (!namespace.is_contested() && name == Some(known)).then_some(pod)
            };
            let Some(pod) = namespace.pod().or_else(earlier) else {
                self.netns_pods.forget(inode);
                continue;
            };
            if let Some(name) = name {
                self.held.insert(inode, (name.to_owned(), Arc::clone(pod)));
            }
            pods.push((inode, Arc::clone(pod)));
        }
        pods
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

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "/run/netns/cni-f0b0fb87-1a7f-31d1-07c2-d0968d09afa4";
    const NEXT: &str = "/run/netns/cni-ef6fec60-5b59-5076-1df7-3d067dffa207";

    /// Looks one after another, each of one namespace with inode 7 or of none; what is said of it in the end.
    fn check(looks: &[Option<(&[&str], &[&str])>], expected: Option<&str>) {
        let mut looker = Looker::new(1);
        for look in looks {
            let namespaces = look.iter().map(|(paths, pods)| (7, Namespace::of(paths, pods))).collect();
            let pods = looker.pods(&namespaces);
            looker.netns_pods.replace(Instant::now(), pods);
        }
        let known: HashMap<u32, Arc<str>> = looker.netns_pods.all();
        assert_eq!(known.get(&7).map(|pod| &**pod), expected, "{looks:?}");
    }

    #[test]
    fn a_namespace_is_not_taken_for_its_predecessor() {
        check(&[Some((&[NAME], &[]))], None);
        check(&[Some((&[NAME], &["a"]))], Some("a"));
        // Gone: events on their way are still its.
        check(&[Some((&[NAME], &["a"])), None], Some("a"));
        // Without processes: the same name, another name, a name that may be used again, no name.
        check(&[Some((&[NAME], &["a"])), Some((&[NAME], &[])), Some((&[NAME], &[]))], Some("a"));
        check(&[Some((&[NAME], &["a"])), Some((&[NEXT], &[]))], None);
        check(&[Some((&["/run/netns/blue"], &["a"])), Some((&["/run/netns/blue"], &[]))], None);
        check(&[Some((&["/proc/5/ns/net"], &["a"])), Some((&["/proc/6/ns/net"], &[]))], None);
        check(&[Some((&[NAME], &["a"])), None, Some((&[NAME], &[]))], None);
        check(&[Some((&[NAME], &["a"])), Some((&[NAME], &["a", "b"]))], None);
        check(&[Some((&[NAME], &["a"])), Some((&[NEXT], &["b"]))], Some("b"));
    }
}
