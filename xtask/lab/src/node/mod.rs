//! The node: a network namespace with pods around it, an uplink and the "internet" behind it.

mod build;
mod pods;
mod wire;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

pub use build::NodeBuilder;

use crate::kubeproxy;
use crate::place::Place;
use crate::plan::AddressPlan;
use crate::pod::Pod;
use crate::random;
use crate::service::Service;
use crate::slot::Slot;

/// How pods are connected to the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A bridge (`cni0`) with one veth port per pod, as the CNI `bridge` plugin and flannel do it.
    #[default]
    Bridge,
    /// No bridge: a host route (/32, /128) to each pod's veth, whose name is random (`cali…`); the pods' gateway is
    /// 169.254.1.1, answered by proxy ARP, and the veth's link-local address. As Calico and cloud CNIs do it.
    HostRouted,
}

/// A Kubernetes node made of network namespaces. Everything it made is gone when it is dropped.
///
/// It dereferences to the [`Place`] that is the node's own namespace (and a cgroup beside the pods').
#[derive(Debug)]
pub struct Node {
    // Fields drop in this order: what runs inside first, the slot (which removes all that is left) last.
    state: Mutex<State>,
    internet: Place,
    /// Between the two, if it shall be there.
    switch: Option<Place>,
    place: Place,
    name: String,
    uid: String,
    layout: Layout,
    bridge: String,
    slot: Slot,
}

/// What changes while the node lives.
#[derive(Debug, Default)]
struct State {
    pods: Vec<Arc<Pod>>,
    services: Vec<Service>,
    /// Chains of services in iptables, IPv4 and IPv6, once services are written there.
    service_chains: Option<[BTreeSet<String>; 2]>,
    /// How many pod numbers have been handed out in turn.
    next: u8,
}

impl Node {
    /// Starts to describe a node.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// A node with a bridge and the defaults of [`NodeBuilder`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Name of the Node object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// UID of the Node object.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// How pods are connected.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Name of the bridge, in [`Layout::Bridge`].
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Name of the uplink interface.
    pub const fn uplink(&self) -> &'static str {
        wire::UPLINK
    }

    /// The addresses of this lab.
    pub const fn plan(&self) -> AddressPlan {
        self.slot.plan()
    }

    /// First part of the names of everything that belongs to this lab.
    pub fn prefix(&self) -> &str {
        self.slot.prefix()
    }

    /// A directory for files, removed with the node.
    pub fn directory(&self) -> &Path {
        self.slot.directory()
    }

    /// The namespace at the other end of the uplink: a router and a host with the addresses
    /// [`AddressPlan::internet`]. It has no route to pods: without masquerade nothing comes back.
    pub const fn internet(&self) -> &Place {
        &self.internet
    }

    /// The pods there are now, in the order they were added.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.state().pods.clone()
    }

    /// A pod by namespace and name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.state().pods.iter().find(|pod| pod.namespace() == namespace && pod.name() == name).cloned()
    }

    /// The services there are now.
    pub fn services(&self) -> Vec<Service> {
        self.state().services.clone()
    }

    /// Whether an address is one of the node's own.
    pub fn owns(&self, address: IpAddr) -> bool {
        let plan = self.plan();
        [plan.node(), plan.gateway()].iter().any(|(v4, v6)| address == *v4 || address == *v6)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a service, or replaces the one of that name, and returns it with its cluster addresses filled in. Where
    /// [`Node::program_services`] was called, the rules follow.
    pub fn add_service(&self, mut service: Service) -> Result<Service> {
        let mut state = self.state();
        if service.uid.is_empty() {
            service.uid = random::uuid();
        }
        let position = state.services.iter().position(|s| s.is(&service.namespace, &service.name));
        if service.number.is_none() {
            service.number = match position {
                Some(position) => state.services[position].number,
                None => (20..=250).find(|n| state.services.iter().all(|s| s.number != Some(*n))),
            };
        }
        anyhow::ensure!(service.number.is_some(), "no free cluster address");
        service.locate(self.plan());
        match position {
            Some(position) => state.services[position] = service.clone(),
            None => state.services.push(service.clone()),
        }
        self.refresh_services(&mut state)?;
        Ok(service)
    }

    /// Removes a service.
    pub fn remove_service(&self, namespace: &str, name: &str) -> Result<()> {
        let mut state = self.state();
        state.services.retain(|service| !service.is(namespace, name));
        self.refresh_services(&mut state)
    }

    /// Writes the services into iptables (nft back-end, IPv4 and IPv6) in the shape kube-proxy gives them, and keeps
    /// them up to date from now on as pods and services come and go.
    pub fn program_services(&self) -> Result<()> {
        let mut state = self.state();
        if state.service_chains.is_none() {
            self.write_services(&mut state)?;
        }
        Ok(())
    }

    fn refresh_services(&self, state: &mut State) -> Result<()> {
        if state.service_chains.is_some() { self.write_services(state) } else { Ok(()) }
    }

    fn write_services(&self, state: &mut State) -> Result<()> {
        let before = state.service_chains.as_ref();
        let v4 = kubeproxy::table(false, &state.services, &state.pods, before.map(|chains| &chains[0]));
        let v6 = kubeproxy::table(true, &state.services, &state.pods, before.map(|chains| &chains[1]));
        self.feed(&["iptables-nft-restore", "--noflush", "--wait"], &v4.text)?;
        self.feed(&["ip6tables-nft-restore", "--noflush", "--wait"], &v6.text)?;
        state.service_chains = Some([v4.chains, v6.chains]);
        Ok(())
    }
}

impl Deref for Node {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}
