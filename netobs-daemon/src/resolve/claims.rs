//! Claims about one end of a flow, and what they amount to.

use std::net::IpAddr;
use std::sync::Arc;

use super::{IpOwner, Sources};
use crate::event::observation::{Claim, ClaimBy, Endpoint, Pod, Service};

/// What is known of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// cgroup v2 id of a socket that is certainly this end's.
    pub cgroup: Option<u64>,
    /// Inode of a network namespace that is certainly this end's.
    pub netns: Option<u32>,
    /// When the interface that is certainly in front of this end was first seen (`CLOCK_BOOTTIME` nanoseconds): `u64::MAX`
    /// if it is newer than the last look, 0 if older than the daemon, `None` if it is no pod's.
    pub behind_since: Option<u64>,
    /// Address and port.
    pub address: Option<(IpAddr, Option<u16>)>,
    /// IP protocol number.
    pub protocol: u8,
}

/// Nanoseconds after which an interface whose namespace is still unknown will hardly become known (the namespaces cannot
/// be seen), so that its address has to do.
const SETTLED: u64 = 60_000_000_000;

/// Whom a claim names.
#[derive(Clone, Debug)]
enum Named {
    Pod(Arc<Pod>),
    Uid(Arc<str>),
    Service(Arc<Service>),
    Node(Arc<str>),
}

impl Named {
    fn display(&self) -> String {
        match self {
            Self::Pod(pod) => format!("{}/{}", pod.namespace, pod.name),
            Self::Uid(uid) => format!("pod uid {uid}"),
            Self::Service(service) => format!("service {}/{}", service.namespace, service.name),
            Self::Node(node) => format!("node {node}"),
        }
    }

    /// Whether both name pods, and not the same.
    fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pod(one), Self::Pod(other)) => match (&one.uid, &other.uid) {
                (Some(one), Some(other)) => one != other,
                _ => (&one.namespace, &one.name) != (&other.namespace, &other.name),
            },
            (Self::Pod(pod), Self::Uid(uid)) | (Self::Uid(uid), Self::Pod(pod)) => {
                pod.uid.as_deref().is_some_and(|of_pod| of_pod != &**uid)
            }
            (Self::Uid(one), Self::Uid(other)) => one != other,
            _ => false,
        }
    }
}

/// Makes the claims that the evidence allows and settles on the strongest.
pub fn endpoint(evidence: &Evidence, boot_ns: u64, sources: &Sources<'_>) -> Endpoint {
    let mut claims: Vec<(ClaimBy, Named)> = Vec::with_capacity(3);
    let by_socket = evidence.cgroup.and_then(|id| sources.places.pod_uid_of_cgroup(id));
    claims.extend(by_socket.map(|uid| (ClaimBy::Socket, of_uid(uid, sources))));
    claims.extend(by_place(evidence, sources).map(|named| (ClaimBy::Place, named)));
    let (by_ip, ambiguous) = by_ip(evidence, boot_ns, sources);
    // A pod that was known before the interface was there is not behind it, and whose pod is, is not known yet.
    let predecessor = claims.is_empty()
        && evidence
            .behind_since
            .zip(by_ip.as_ref())
            .is_some_and(|(interface, (_, known))| *known < interface && boot_ns < interface.saturating_add(SETTLED));
    claims.extend(by_ip.map(|(named, _)| (ClaimBy::Ip, named)));

    let mut endpoint = Endpoint::default();
    let mut nameless = false;
    for (at, (by, named)) in claims.iter().enumerate() {
        let contradicted = predecessor || claims[..at].iter().any(|(_, stronger)| stronger.contradicts(named));
        match named {
            // A stronger claim knows that it is another pod, if not which: better no name than the wrong one.
            Named::Pod(_) if contradicted && endpoint.pod.is_none() => nameless = true,
            Named::Pod(pod) => drop(endpoint.pod.get_or_insert_with(|| (**pod).clone())),
            Named::Service(service) => endpoint.service = Some((**service).clone()),
            Named::Node(node) => endpoint.node = Some(node.to_string()),
            Named::Uid(_) => {}
        }
        endpoint.ip_mismatch |= contradicted;
        endpoint.claims.push(Claim { by: *by, names: named.display() });
    }
    if endpoint.pod.is_none() && endpoint.service.is_none() && endpoint.node.is_none() {
        let why = if sources.directory.is_empty() {
            "no_metadata"
        } else if nameless {
            "pod_not_listed"
        } else if ambiguous {
            "ambiguous"
        } else if evidence.address.is_none() {
            "no_address"
        } else {
            "unknown_ip"
        };
        endpoint.unknown = Some(why.to_owned());
    }
    endpoint
}

fn of_uid(uid: Arc<str>, sources: &Sources<'_>) -> Named {
    sources.directory.pod_by_uid(&uid).map_or(Named::Uid(uid), Named::Pod)
}

fn by_place(evidence: &Evidence, sources: &Sources<'_>) -> Option<Named> {
    let netns = evidence.netns?;
    if netns == sources.places.own_netns() {
        return Some(Named::Node(sources.node.into()));
    }
    sources.places.pod_uid_of_netns(netns).map(|uid| of_uid(uid, sources))
}

/// A pod's address, else a Service's own, else a node's, and since when that is known; whether the address has more than
/// one owner.
fn by_ip(evidence: &Evidence, boot_ns: u64, sources: &Sources<'_>) -> (Option<(Named, u64)>, bool) {
    let Some((ip, port)) = evidence.address else { return (None, false) };
    let owner = match sources.directory.ip_owner(ip, boot_ns) {
        IpOwner::Pod(pod, since) => return (Some((Named::Pod(pod), since)), false),
        IpOwner::Ambiguous => return (None, true),
        IpOwner::Node(node) => Some(Named::Node(node)),
        IpOwner::Unknown => None,
    };
    let service = sources.directory.service(ip, evidence.protocol, port).map(Named::Service);
    (service.or(owner).map(|named| (named, u64::MAX)), false)
}
