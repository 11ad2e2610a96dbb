//! A Kubernetes node built out of network namespaces, for netobs's tests, demo and benches.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use netobs_lab::{Node, PodSpec, Service};
//! use std::time::Duration;
//!
//! let node = Node::new()?;
//! let web = node.add_pod(PodSpec::new("shop", "web-0").deployment("web"))?;
//! let client = node.add_pod(PodSpec::new("shop", "client"))?;
//! let service = node.add_service(Service::new("shop", "web").tcp("http", 80, 8080))?;
//! node.program_services()?;
//! let _echo = web.tcp_echo(8080)?;
//! if let Some(address) = service.at("http") {
//!     client.tcp_connect(address, Duration::from_secs(1))?;
//! }
//! node.iptables("-I FORWARD -p tcp --dport 8080 -j DROP")?;
//! # Ok(()) }
//! ```
//!
//! Labs need root and the tools iproute2, nftables, iptables; [`unavailable`] says what is missing. They run in
//! parallel (own names, own addresses), clean up when dropped, and the next lab cleans up after one that was killed.
//! The lab does not know the daemon's code: it starts its binary and reads its HTTP API.

use std::collections::BTreeSet;

mod apiserver;
pub mod bench;
mod cgroup;
mod daemon;
pub mod demo;
mod dns;
mod foreign;
pub mod hold;
mod http;
mod kubeproxy;
mod netns;
mod node;
mod objects;
mod options;
mod packet;
mod place;
mod plan;
mod pod;
mod process;
mod random;
mod refusal;
mod relay;
mod rules;
mod server;
mod service;
mod shop;
mod slot;
mod slow;
mod socket;
mod spoof;
pub mod suite;
mod workload;

pub use apiserver::{ApiServer, StreamingLists};
pub use cgroup::Cgroup;
pub use daemon::{Daemon, DaemonBuilder};
pub use dns::{DigAnswer, DnsServer};
pub use foreign::{Direction, ForeignProgram, Position};
pub use http::{Answer, Client, Line, Lines};
pub use netns::Netns;
pub use node::{Layout, Node, NodeBuilder};
pub use objects::{kubectl_list, objects};
pub use place::{Place, TOOL_DEADLINE};
pub use plan::{AddressPlan, SLOTS};
pub use pod::{Pod, PodSpec};
pub use process::{Finished, Process};
pub use relay::Relay;
pub use rules::Backend;
pub use server::Server;
pub use service::{Protocol, Service, ServicePort};
pub use shop::Shop;
pub use spoof::RawSender;
pub use workload::{Owner, Workload};

/// Why no lab can run here: `None` if one can. Tests print it when they skip.
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root; run it with sudo".into());
    }
    missing(&[
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("iptables-nft-restore", "iptables"),
        ("iptables-legacy", "iptables"),
        ("ping", "iputils-ping"),
    ])
}

/// Which of these programs (each with the Debian package that brings it) are not installed, as a sentence; `None` if
/// all are there.
pub fn missing(programs: &[(&str, &str)]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(|(program, _)| !there(program)).collect();
    let (programs, packages): (Vec<_>, BTreeSet<_>) = missing.into_iter().copied().unzip();
    let packages: Vec<_> = packages.into_iter().collect();
    (!programs.is_empty())
        .then(|| format!("not installed: {} (apt-get install {})", programs.join(", "), packages.join(" ")))
}
