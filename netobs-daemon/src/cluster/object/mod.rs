//! The Kubernetes objects netobs needs, as partial structs (what the API server sends) and as the compact records made
//! from them (what the index keeps).
//!
//! A typed Pod takes 80 KB, the fields used here less than 1 KB. The partial structs accept items of a list (without
//! `kind` and `apiVersion`), objects of watch events (with both) and `null` wherever Kubernetes sends it for "none".

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

mod meta;
mod node;
mod pod;
mod service;
mod slice;

pub use meta::{Meta, Owner};
pub use node::{Node, NodeRecord};
pub use pod::{Pod, PodRecord};
pub use service::{Service, ServicePort, ServiceRecord};
pub use slice::{EndpointSlice, SliceEndpoint, SliceRecord};

/// Type of a watched object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` `EndpointSlice`.
    EndpointSlice,
    /// `v1` Node.
    Node,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pod, Self::Service, Self::EndpointSlice, Self::Node];

    /// The name of the resource in the API's paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Node => "nodes",
        }
    }
}

/// What identifies an object among those of its type. The namespace of a Node is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Any object, as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A Pod.
    Pod(PodRecord),
    /// A Service.
    Service(ServiceRecord),
    /// An `EndpointSlice`.
    EndpointSlice(SliceRecord),
    /// A Node.
    Node(NodeRecord),
}

impl Object {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Node(_) => Kind::Node,
        }
    }

    /// What identifies it.
    pub fn key(&self) -> &Key {
        match self {
            Self::Pod(it) => &it.key,
            Self::Service(it) => &it.key,
            Self::EndpointSlice(it) => &it.key,
            Self::Node(it) => &it.key,
        }
    }

    /// Fields (addresses, ports, protocols) that could not be read and were left out.
    pub fn malformed(&self) -> u32 {
        match self {
            Self::Pod(it) => it.malformed,
            Self::Service(it) => it.malformed,
            Self::EndpointSlice(it) => it.malformed,
            Self::Node(it) => it.malformed,
        }
    }
}

/// An IP address as text, in its canonical form: an IPv4-mapped IPv6 address becomes the IPv4 address. Text that is no
/// address is counted.
fn address(text: &str, malformed: &mut u32) -> Option<IpAddr> {
    let parsed = text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    *malformed += u32::from(parsed.is_none());
    parsed
}

/// `null` means "none" in lists, maps and structs alike.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
