//! The lab of a bench: a node, a pod that sends, and a rule of the node that drops what it sends to some ports.

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::clocks::thread_cpu;
use crate::{Node, Pod, PodSpec};

/// UDP ports whose packets the node drops when they leave it.
pub const DROPPED: RangeInclusive<u16> = 20_000..=29_999;

/// A node with a sender.
#[derive(Debug)]
pub struct Scene {
    /// The node.
    pub node: Node,
    /// The pod that sends.
    pub sender: Arc<Pod>,
}

impl Scene {
    /// Builds it.
    pub fn new() -> Result<Self> {
        let node = Node::new()?;
        let sender = node.add_pod(PodSpec::new("bench", "sender").deployment("sender"))?;
        // Routed from the pod out of the node, so the packet passes veth, bridge, conntrack and the forward hook.
        node.nft(&format!(
            "table inet bench {{\n chain forward {{\n type filter hook forward priority 0; policy accept;\n \
             udp dport {}-{} drop;\n }}\n}}\n",
            DROPPED.start(),
            DROPPED.end()
        ))?;
        Ok(Self { node, sender })
    }

    /// An address outside the node; what goes to its [`DROPPED`] ports never gets there.
    pub fn outside(&self, port: u16) -> SocketAddr {
        (self.node.plan().internet().0, port).into()
    }

    /// Index of the sender's interface on the node's side.
    pub fn sender_index(&self) -> Result<u64> {
        let shown = self.node.must(&["ip", "-json", "link", "show", self.sender.host_interface()])?.stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        shown[0]["ifindex"].as_u64().with_context(|| format!("no index in {shown}"))
    }

    /// A socket of the sender.
    pub fn socket(&self) -> Result<UdpSocket> {
        self.sender.udp_socket(([0, 0, 0, 0], 0).into()).context("a socket of the sender")
    }
}

/// Sends so many packets on a connected socket as fast as it goes, in the calling thread; returns its CPU time.
pub fn flood(socket: &UdpSocket, packets: u64) -> Result<Duration> {
    const PAYLOAD: [u8; 64] = [0x6e; 64];
    let before = thread_cpu();
    for _ in 0..packets {
        socket.send(&PAYLOAD).context("sending a packet that is to be dropped")?;
    }
    Ok(thread_cpu().saturating_sub(before))
}
