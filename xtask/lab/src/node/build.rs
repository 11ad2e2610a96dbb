//! Making a node.

use std::sync::Mutex;

use anyhow::{Context, Result};

use super::{Layout, Node, State, wire};
use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::place::Place;
use crate::random;
use crate::slot::Slot;

/// What a node shall be like.
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    name: String,
    layout: Layout,
    bridge: String,
    masquerade: bool,
    far_internet: bool,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            name: "node-a".into(),
            layout: Layout::Bridge,
            bridge: "cni0".into(),
            masquerade: true,
            far_internet: false,
        }
    }
}

impl NodeBuilder {
    /// Name of the Node object; `node-a` unless said otherwise.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How pods are connected; by a bridge unless said otherwise.
    #[must_use]
    pub const fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Name of the bridge; `cni0` unless said otherwise.
    #[must_use]
    pub fn bridge(mut self, name: impl Into<String>) -> Self {
        self.bridge = name.into();
        self
    }

    /// Whether pods' packets to the outside get the node's address; yes unless said otherwise.
    #[must_use]
    pub const fn masquerade(mut self, on: bool) -> Self {
        self.masquerade = on;
        self
    }

    /// Puts a switch, in a namespace of its own, between the node and the internet: a daemon on the node looks into the
    /// namespace at the other end of the node's uplink, and so not into the internet's.
    #[must_use]
    pub const fn far_internet(mut self) -> Self {
        self.far_internet = true;
        self
    }

    /// Makes it. First removes what crashed labs left on this machine.
    pub fn build(self) -> Result<Node> {
        if let Some(reason) = crate::unavailable() {
            anyhow::bail!("no lab here: {reason}");
        }
        let slot = Slot::take()?;
        let place = |what: &str| -> Result<Place> {
            let netns = Netns::create(format!("{}-{what}", slot.prefix()))?;
            Ok(Place::new(netns, Cgroup::create(slot.cgroup().join("system.slice").join(what))?))
        };
        let node = Node {
            state: Mutex::new(State::default()),
            internet: place("internet")?,
            switch: self.far_internet.then(|| place("switch")).transpose()?,
            place: place("node")?,
            name: self.name,
            uid: random::uuid(),
            layout: self.layout,
            bridge: self.bridge,
            slot,
        };
        wire::node(&node).context("wiring the node")?;
        if self.masquerade {
            wire::masquerade(&node)?;
        }
        Ok(node)
    }
}
