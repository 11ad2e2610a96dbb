//! Services: their own addresses and ports.

use std::net::IpAddr;

use serde::Deserialize;

use super::meta::{Meta, resource};
use super::{Key, address, null_default};

/// A Service as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Metadata.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "null_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_default")]
    status: Status,
}
resource!(Service, NamespaceResourceScope, "", "services");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs", deserialize_with = "null_default")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs", deserialize_with = "null_default")]
    external_ips: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    ports: Vec<Port>,
}

#[derive(Clone, Debug, Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(rename = "port")]
    number: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "null_default")]
    load_balancer: LoadBalancer,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    #[serde(deserialize_with = "null_default")]
    ingress: Vec<Ingress>,
}

#[derive(Clone, Debug, Deserialize)]
struct Ingress {
    #[serde(default)]
    ip: Option<String>,
}

/// A Service as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Namespace and name.
    pub key: Key,
    /// Cluster addresses, which nothing else can have.
    pub cluster_ips: Vec<IpAddr>,
    /// External and load balancer addresses, which other Services and nodes may have too.
    pub external_ips: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Fields that could not be read.
    pub malformed: u32,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// IP protocol number.
    pub protocol: u8,
    /// Port.
    pub port: u16,
    /// Name; a Service with one port need not name it.
    pub name: Option<String>,
}

impl Service {
    /// The record of it; `None` when it has no name.
    pub fn record(self) -> Option<ServiceRecord> {
        let key = self.metadata.key()?;
        let mut malformed = 0;
        let spec = self.spec;
        // "None" is a headless Service, the empty string one without a cluster address (ExternalName).
        let cluster =
            spec.cluster_ip.iter().chain(&spec.cluster_ips).filter(|text| !matches!(text.as_str(), "" | "None"));
        let cluster_ips = distinct(cluster, &mut malformed);
        let ingress = self.status.load_balancer.ingress.iter().filter_map(|it| it.ip.as_ref());
        let external_ips =
            distinct(spec.external_ips.iter().chain(ingress).filter(|text| !text.is_empty()), &mut malformed);
        let mut ports = Vec::with_capacity(spec.ports.len());
        for port in spec.ports {
            // Absent means TCP (API reference, ServicePort).
            let protocol = match port.protocol.as_deref() {
                None | Some("" | "TCP") => Some(6),
                Some("UDP") => Some(17),
                Some("SCTP") => Some(132),
                Some(_) => None,
            };
            match (protocol, u16::try_from(port.number)) {
                (Some(protocol), Ok(number)) => {
                    ports.push(ServicePort { protocol, port: number, name: port.name.filter(|name| !name.is_empty()) });
                }
                _ => malformed += 1,
            }
        }
        Some(ServiceRecord { key, cluster_ips, external_ips, ports, malformed })
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a String>, malformed: &mut u32) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for text in texts {
        match address(text, malformed) {
            Some(ip) if !ips.contains(&ip) => ips.push(ip),
            _ => {}
        }
    }
    ips
}
