//! What readers see: a copy of the index's look-up tables that never changes.

use std::net::IpAddr;
use std::sync::Arc;

use super::claims::Claims;
use super::cow::CowMap;
use super::services::Services;
use crate::cluster::object::Key;
use crate::event::observation::{Pod, Service};
use crate::resolve::{Directory, IpOwner};

/// The index at one moment. Making one costs a few hundred reference counts, whatever its size.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) claims: Claims,
    pub(super) services: Services,
    /// Pods by UID and, for static pods, by config hash; for a while also pods that are gone.
    pub(super) pods: CowMap<Arc<str>, Arc<Pod>>,
    /// Pods that exist and have not finished.
    pub(super) running: CowMap<Key, Arc<Pod>>,
    pub(super) objects: usize,
}

impl Snapshot {
    /// Pods of a node that have not finished, in no order.
    pub fn pods_of_node(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.running.values().filter(move |pod| pod.node.as_deref() == Some(node))
    }
}

impl Directory for Snapshot {
    fn is_empty(&self) -> bool {
        self.objects == 0
    }

    fn ip_owner(&self, ip: IpAddr, boot_ns: u64) -> IpOwner {
        self.claims.owner(ip.to_canonical(), boot_ns)
    }

    fn pod_by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.pods.get(uid).cloned()
    }

    fn service(&self, ip: IpAddr, protocol: u8, port: Option<u16>) -> Option<Arc<Service>> {
        let ip = ip.to_canonical();
        self.services.find(ip, protocol, port, self.claims.is_node(ip))
    }
}
