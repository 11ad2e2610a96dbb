//! `EndpointSlices`: which pod has which address, also on other nodes.

use std::net::IpAddr;

use serde::Deserialize;

use super::meta::{Meta, resource};
use super::{Key, address, null_default};

/// An `EndpointSlice` as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Metadata.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "null_default")]
    address_type: String,
    #[serde(default, deserialize_with = "null_default")]
    endpoints: Vec<Endpoint>,
}
resource!(EndpointSlice, NamespaceResourceScope, "discovery.k8s.io", "endpointslices");

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default, deserialize_with = "null_default")]
    addresses: Vec<String>,
    #[serde(default)]
    target_ref: Option<TargetRef>,
    #[serde(default)]
    node_name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

/// An `EndpointSlice` as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRecord {
    /// Namespace and name.
    pub key: Key,
    /// Endpoints that are pods.
    pub endpoints: Vec<SliceEndpoint>,
    /// Fields that could not be read.
    pub malformed: u32,
}

/// An address and the pod that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Address.
    pub ip: IpAddr,
    /// The pod's namespace and name.
    pub pod: Key,
    /// The pod's UID, where it is told (slices made by hand may leave it out).
    pub uid: Option<String>,
    /// Node it runs on.
    pub node: Option<String>,
}

impl EndpointSlice {
    /// The record of it; `None` when it has no name.
    pub fn record(self) -> Option<SliceRecord> {
        let key = self.metadata.key()?;
        let mut malformed = 0;
        let mut endpoints = Vec::new();
        // Addresses of type FQDN are host names.
        let wanted = matches!(self.address_type.as_str(), "IPv4" | "IPv6");
        for endpoint in self.endpoints.into_iter().filter(|_| wanted) {
            let Some(target) = endpoint.target_ref.filter(|it| it.kind.as_deref() == Some("Pod")) else { continue };
            let Some(name) = target.name.filter(|name| !name.is_empty()) else {
                malformed += 1;
                continue;
            };
            let namespace = target.namespace.filter(|it| !it.is_empty()).unwrap_or_else(|| key.namespace.clone());
            let pod = Key { namespace, name };
            let uid = target.uid.filter(|uid| !uid.is_empty());
            for text in &endpoint.addresses {
                if let Some(ip) = address(text, &mut malformed) {
                    endpoints.push(SliceEndpoint {
                        ip,
                        pod: pod.clone(),
                        uid: uid.clone(),
                        node: endpoint.node_name.clone(),
                    });
                }
            }
        }
        Some(SliceRecord { key, endpoints, malformed })
    }
}
