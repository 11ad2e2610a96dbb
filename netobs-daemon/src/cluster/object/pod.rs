//! Pods: addresses, node and owner.

use std::net::IpAddr;

use serde::Deserialize;

use super::meta::{Meta, Owner, resource};
use super::{Key, address, null_default};

/// A Pod as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// Metadata.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Meta,
    #[serde(default, deserialize_with = "null_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_default")]
    status: Status,
}
resource!(Pod, NamespaceResourceScope, "", "pods");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs", deserialize_with = "null_default")]
    pod_ips: Vec<PodIp>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: Option<String>,
}

/// A Pod as the index keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// Namespace and name.
    pub key: Key,
    /// UID.
    pub uid: String,
    /// Node it is bound to.
    pub node: Option<String>,
    /// It shares its node's network namespace, and so the node's addresses.
    pub host_network: bool,
    /// Phase `Succeeded` or `Failed`: its sandbox is gone, though its addresses stay in its status.
    pub finished: bool,
    /// Addresses of its own, primary first; for `hostNetwork` those of its node.
    pub ips: Vec<IpAddr>,
    /// Its controller.
    pub controller: Option<Owner>,
    /// Label `pod-template-hash`.
    pub pod_template_hash: Option<String>,
    /// Other UIDs it is known by on its node: the config hashes of a static pod.
    pub aliases: Vec<String>,
    /// Fields that could not be read.
    pub malformed: u32,
}

impl Pod {
    /// The record of it; `None` when it has no name or no UID.
    pub fn record(self) -> Option<PodRecord> {
        let key = self.metadata.key()?;
        let uid = self.metadata.uid()?.to_owned();
        let host_network = self.spec.host_network.unwrap_or(false);
        let mut malformed = 0;
        let mut ips = Vec::new();
        let status = &self.status;
        let listed = status.pod_ips.iter().filter_map(|it| it.ip.as_deref());
        let host_ip = status.host_ip.as_deref().filter(|_| host_network);
        for text in status.pod_ip.as_deref().into_iter().chain(listed).chain(host_ip).filter(|text| !text.is_empty()) {
            match address(text, &mut malformed) {
                Some(ip) if !ips.contains(&ip) => ips.push(ip),
                _ => {}
            }
        }
        let meta = self.metadata;
        let mut aliases: Vec<String> = meta.config_hash.into_iter().chain(meta.config_mirror).collect();
        aliases.dedup();
        aliases.retain(|alias| !alias.is_empty() && *alias != uid);
        Some(PodRecord {
            key,
            uid,
            node: self.spec.node_name.filter(|name| !name.is_empty()),
            host_network,
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ips,
            controller: meta.controller,
            pod_template_hash: meta.pod_template_hash,
            aliases,
            malformed,
        })
    }
}
