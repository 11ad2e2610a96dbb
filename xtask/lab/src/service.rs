//! A Kubernetes Service of the lab, and which pods are its endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::plan::AddressPlan;
use crate::pod::Pod;

/// Transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the service.
    pub port: u16,
    /// Port of the pods.
    pub target: u16,
}

/// A dual-stack service of type `ClusterIP`. It gets its addresses from [`Node::add_service`](crate::Node::add_service).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID; empty until it is added.
    pub uid: String,
    /// Labels that its pods have. With none, the service has no endpoints.
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Number in the [`AddressPlan`]; chosen when it is added unless set.
    pub number: Option<u8>,
    cluster_ips: Option<(Ipv4Addr, Ipv6Addr)>,
}

impl Service {
    /// A service for the pods with the label `app=NAME`, as yet without ports.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            namespace: namespace.into(),
            uid: String::new(),
            selector: BTreeMap::from([("app".to_owned(), name.clone())]),
            name,
            ports: Vec::new(),
            number: None,
            cluster_ips: None,
        }
    }

    /// Adds a port.
    #[must_use]
    pub fn port(mut self, name: &str, protocol: Protocol, port: u16, target: u16) -> Self {
        self.ports.push(ServicePort { name: name.into(), protocol, port, target });
        self
    }

    /// Adds a TCP port.
    #[must_use]
    pub fn tcp(self, name: &str, port: u16, target: u16) -> Self {
        self.port(name, Protocol::Tcp, port, target)
    }

    /// Adds a UDP port.
    #[must_use]
    pub fn udp(self, name: &str, port: u16, target: u16) -> Self {
        self.port(name, Protocol::Udp, port, target)
    }

    /// Selects by this label instead.
    #[must_use]
    pub fn select(mut self, key: &str, value: &str) -> Self {
        self.selector = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        self
    }

    /// Asks for the cluster address with this number (1 to 250).
    #[must_use]
    pub const fn number(mut self, number: u8) -> Self {
        self.number = Some(number);
        self
    }

    /// Cluster addresses, IPv4 first; none before the service is added to a node.
    pub fn cluster_ips(&self) -> Vec<IpAddr> {
        self.cluster_ips.iter().flat_map(|(v4, v6)| [IpAddr::V4(*v4), IpAddr::V6(*v6)]).collect()
    }

    /// IPv4 cluster address with the port of this name.
    pub fn at(&self, port: &str) -> Option<SocketAddr> {
        Some((self.cluster_ips?.0, self.number_of(port)?).into())
    }

    /// IPv6 cluster address with the port of this name.
    pub fn at6(&self, port: &str) -> Option<SocketAddr> {
        Some((self.cluster_ips?.1, self.number_of(port)?).into())
    }

    fn number_of(&self, port: &str) -> Option<u16> {
        self.ports.iter().find(|p| p.name == port).map(|p| p.port)
    }

    /// The pods it selects, ready or not.
    pub fn endpoints<'a>(&self, pods: &'a [Arc<Pod>]) -> Vec<&'a Arc<Pod>> {
        pods.iter()
            .filter(|pod| {
                pod.namespace() == self.namespace
                    && !self.selector.is_empty()
                    && self.selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
            })
            .collect()
    }

    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    pub(crate) fn locate(&mut self, plan: AddressPlan) {
        self.cluster_ips = self.number.map(|number| plan.service(number));
    }
}
