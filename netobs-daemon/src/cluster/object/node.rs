//! Nodes: their own addresses.

use std::net::IpAddr;

use serde::Deserialize;

use super::meta::{Meta, resource};
use super::{Key, address, null_default};

/// A Node as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Metadata.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "null_default")]
    status: Status,
}
resource!(Node, ClusterResourceScope, "", "nodes");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "null_default")]
    addresses: Vec<Address>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    address: Option<String>,
}

/// A Node as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name; the namespace is empty.
    pub key: Key,
    /// Internal and external addresses.
    pub ips: Vec<IpAddr>,
    /// Fields that could not be read.
    pub malformed: u32,
}

impl Node {
    /// The record of it; `None` when it has no name.
    pub fn record(self) -> Option<NodeRecord> {
        let mut key = self.metadata.key()?;
        key.namespace.clear();
        let mut malformed = 0;
        let mut ips = Vec::new();
        for it in &self.status.addresses {
            if let (Some("InternalIP" | "ExternalIP"), Some(text)) = (it.kind.as_deref(), it.address.as_deref()) {
                match address(text, &mut malformed) {
                    Some(ip) if !ips.contains(&ip) => ips.push(ip),
                    _ => {}
                }
            }
        }
        Some(NodeRecord { key, ips, malformed })
    }
}
