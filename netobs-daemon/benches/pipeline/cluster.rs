//! What names come from: the index of a cluster, a few interfaces, the running kernel.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use netobs_daemon::cluster::Snapshot;
use netobs_daemon::cluster::index::{Index, Seen};
use netobs_daemon::cluster::object::{Object, Pod, Service};
use netobs_daemon::kernel::facts::Facts;
use netobs_daemon::kernel::symbols::Symbols;
use netobs_daemon::resolve::{InterfaceInfo, Naming, Places, Sources};
use serde_json::json;

/// Pods of the cluster.
pub const PODS: u32 = 5_000;
const SERVICES: u32 = 500;
/// Inode of the namespace that the daemon would be in.
pub const OWN_NETNS: u32 = 4_026_531_840;

/// Everything that `observe` asks.
pub struct Cluster {
    directory: Snapshot,
    places: Node,
    naming: Kernel,
}

impl Cluster {
    /// 5,000 pods, 500 Services; this node's interfaces lead to the first 50 pods.
    pub fn new() -> Result<Self> {
        let mut index = Index::default();
        let seen = Seen { earliest: 0, at: 0 };
        for number in 0..PODS {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": format!("web-{number:04}-7c9d{number:04x}"), "namespace": format!("team-{}", number % 40),
                    "uid": uid(number), "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet",
                    "name": format!("web-{:03}", number % 500), "uid": uid(100_000 + number % 500), "controller": true}]},
                "spec": {"nodeName": format!("worker-{}", number / 50)},
                "status": {"phase": "Running", "podIP": pod_ip(number), "podIPs": [{"ip": pod_ip(number)}]},
            }))?;
            index.apply(Object::Pod(pod.record().context("a pod")?), seen);
        }
        for number in 0..SERVICES {
            let service: Service = serde_json::from_value(json!({
                "metadata": {"name": format!("service-{number}"), "namespace": format!("team-{}", number % 40)},
                "spec": {"type": "ClusterIP", "clusterIP": service_ip(number), "clusterIPs": [service_ip(number)],
                    "ports": [{"name": "dns", "protocol": "UDP", "port": 53}]},
            }))?;
            index.apply(Object::Service(service.record().context("a Service")?), seen);
        }
        Ok(Self { directory: index.snapshot(), places: Node::new(), naming: Kernel::new()? })
    }

    /// As the pipeline passes it.
    pub fn sources(&self) -> Sources<'_> {
        Sources { directory: &self.directory, places: &self.places, naming: &self.naming, node: "worker-0" }
    }
}

/// Address of a pod.
pub fn pod_ip(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0b00_0100 + number).into()
}

/// Address of a Service.
pub fn service_ip(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0bff_0000 + number).into()
}

fn uid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// Namespace, interface and cgroup of each local pod follow from its number.
struct Node {
    interfaces: HashMap<u32, InterfaceInfo>,
    uids: HashMap<u32, Arc<str>>,
}

impl Node {
    fn new() -> Self {
        let interface = |number| {
            let name = format!("veth{number:08x}").into();
            (10 + number, InterfaceInfo { name, peer_netns: Some(OWN_NETNS + 1 + number), pod_side_since: Some(0) })
        };
        Self {
            interfaces: (0..50).map(interface).collect(),
            uids: (0..50).map(|number| (OWN_NETNS + 1 + number, uid(number).into())).collect(),
        }
    }
}

impl Places for Node {
    fn own_netns(&self) -> u32 {
        OWN_NETNS
    }

    fn interface(&self, ifindex: u32) -> Option<InterfaceInfo> {
        self.interfaces.get(&ifindex).cloned()
    }

    fn pod_uid_of_netns(&self, inode: u32) -> Option<Arc<str>> {
        self.uids.get(&inode).cloned()
    }

    fn pod_uid_of_cgroup(&self, id: u64) -> Option<Arc<str>> {
        self.pod_uid_of_netns(u32::try_from(id).ok()?)
    }
}

/// The running kernel's names.
struct Kernel {
    facts: Facts,
    symbols: Symbols,
}

impl Kernel {
    fn new() -> Result<Self> {
        Ok(Self { facts: Facts::read(None)?, symbols: Symbols::load()? })
    }
}

impl Naming for Kernel {
    fn has_drop_reason(&self, _: &str) -> bool {
        true
    }

    fn reset_reason(&self, number: u32) -> Option<String> {
        Some(format!("RST_REASON_{number}"))
    }

    fn drop_reason(&self, number: u32) -> String {
        self.facts.reasons.name(number).into_owned()
    }

    fn is_first_in_hook(&self, _: bool, _: u32) -> bool {
        true
    }

    fn symbol(&self, address: u64) -> Option<String> {
        self.symbols.name(address).map(str::to_owned)
    }
}
