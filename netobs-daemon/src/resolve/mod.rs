//! Who the ends of an event are: claims by socket, by place and by IP, and a resolver that picks.
//!
//! This module is pure. What it asks is behind two traits: [`Directory`] (implemented by `cluster`) knows the API
//! server's objects, [`Places`] (implemented by `net`) knows this node's interfaces, namespaces and cgroups.

mod claims;
mod drops;
mod ends;
mod late;
mod observe;
mod points;
mod resets;
mod routine;
mod severity;
mod sizes;
mod summary;

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::observation::{Pod, Service};
pub use observe::observe;

/// Who has an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpOwner {
    /// One pod, and when the news of it arrived (`CLOCK_BOOTTIME` nanoseconds).
    Pod(Arc<Pod>, u64),
    /// A node's own address (which its hostNetwork pods share).
    Node(Arc<str>),
    /// More than one candidate.
    Ambiguous,
    /// Nobody known.
    Unknown,
}

/// What the API server (or a file) says.
pub trait Directory {
    /// Whether there is any metadata at all.
    fn is_empty(&self) -> bool;
    /// Owner of an address at a time (`CLOCK_BOOTTIME` nanoseconds).
    fn ip_owner(&self, ip: IpAddr, boot_ns: u64) -> IpOwner;
    /// A pod by UID (also by the config hash that a static pod's cgroup carries).
    fn pod_by_uid(&self, uid: &str) -> Option<Arc<Pod>>;
    /// The Service behind an address of its own; `protocol` is the IP protocol number. With a port that the Service
    /// does not have, the Service without a port name.
    fn service(&self, ip: IpAddr, protocol: u8, port: Option<u16>) -> Option<Arc<Service>>;
}

/// What an interface is, as far as endpoints go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Name.
    pub name: Arc<str>,
    /// For a pod-side host interface: inode of the pod's network namespace, where it could be found out.
    pub peer_netns: Option<u32>,
    /// For a pod-side host interface: when it was first seen (`CLOCK_BOOTTIME` nanoseconds), 0 if it was there before
    /// the daemon.
    pub pod_side_since: Option<u64>,
}

/// What this node's own state says.
pub trait Places {
    /// Inode of the namespace the daemon is in.
    fn own_netns(&self) -> u32;
    /// An interface of the daemon's own namespace.
    fn interface(&self, ifindex: u32) -> Option<InterfaceInfo>;
    /// UID of the pod whose network namespace this is.
    fn pod_uid_of_netns(&self, inode: u32) -> Option<Arc<str>>;
    /// UID of the pod whose cgroup v2 directory (or one below it) has this inode.
    fn pod_uid_of_cgroup(&self, id: u64) -> Option<Arc<str>>;
}

/// What the running kernel calls things.
pub trait Naming {
    /// Name in `enum skb_drop_reason`, without its prefix; `REASON_n` where it has none.
    fn drop_reason(&self, number: u32) -> String;
    /// Whether the running kernel has a drop reason of this name.
    fn has_drop_reason(&self, name: &str) -> bool;
    /// Name in `enum sk_rst_reason`, without its prefix; `None` where the kernel has none for this number.
    fn reset_reason(&self, number: u32) -> Option<String>;
    /// Whether nothing can drop a packet in a netfilter hook (`enum nf_inet_hooks`) before our program sees it there.
    fn is_first_in_hook(&self, ipv6: bool, number: u32) -> bool;
    /// Name of the function that an address lies in.
    fn symbol(&self, address: u64) -> Option<String>;
}

/// All that [`observe`] asks.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The API server's objects.
    pub directory: &'a dyn Directory,
    /// This node's interfaces, namespaces and cgroups.
    pub places: &'a dyn Places,
    /// The kernel's names.
    pub naming: &'a dyn Naming,
    /// Name of this node.
    pub node: &'a str,
}

#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod place_tests;
#[cfg(test)]
mod severity_tests;
#[cfg(test)]
mod spoiled_tests;
#[cfg(test)]
mod tests;
