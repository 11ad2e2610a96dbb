//! The links of the daemon's namespace as a table fed with netlink's news. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::role::{Role, Traits, mac_header};
use super::rtnetlink::link::LinkMessage;

/// Most links kept; further ones are counted in [`LinkTable::left_out`]. A node has two or three per pod.
const MAX_LINKS: usize = 16_384;

/// A link of the daemon's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Index; the identity, as long as the link lives.
    pub ifindex: u32,
    /// Name; may change at any time.
    pub name: Arc<str>,
    /// Kind (`veth`, `bridge`, `vxlan`, …); hardware and `lo` have none.
    pub kind: Option<Arc<str>>,
    /// `ARPHRD_*`.
    pub arphrd: u16,
    /// Bytes of link-layer header in front of the network header: 14 (Ethernet, loopback) or 0.
    pub mac_header: u8,
    /// Administratively up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// The device it is a port of.
    pub master: Option<u32>,
    /// Index of its peer (veth) or lower device, in the namespace that `peer_nsid` says.
    pub peer: Option<u32>,
    /// Id, in the daemon's namespace, of the namespace the peer is in; `None` if it is the daemon's own.
    pub peer_nsid: Option<i32>,
    /// What it is for.
    pub role: Role,
}

/// News of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is there; at the start each link is announced so.
    Added(Arc<Link>),
    /// Something about it changed, possibly its role.
    Changed(Arc<Link>),
    /// It is gone: deleted, or moved to another namespace. Its index may be used again at once.
    Removed(Arc<Link>),
}

impl LinkEvent {
    /// The link in its newest (or last known) state.
    pub fn link(&self) -> &Arc<Link> {
        let (Self::Added(link) | Self::Changed(link) | Self::Removed(link)) = self;
        link
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    links: BTreeMap<u32, Arc<Link>>,
    default_routes: BTreeSet<u32>,
    left_out: u64,
}

impl LinkTable {
    pub(crate) fn links(&self) -> &BTreeMap<u32, Arc<Link>> {
        &self.links
    }

    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A link as it is now.
    pub(crate) fn update(&mut self, message: LinkMessage, events: &mut Vec<LinkEvent>) {
        if !self.links.contains_key(&message.index) && self.links.len() >= MAX_LINKS {
            self.left_out += 1;
            return;
        }
        let link = self.link(message);
        match self.links.get(&link.ifindex) {
            Some(known) if **known == link => return,
            // A reading that missed a deletion: the same index, but never the same link.
            Some(known) if replaced(known, &link) => {
                events.push(LinkEvent::Removed(Arc::clone(known)));
                let link = Arc::new(link);
                events.push(LinkEvent::Added(Arc::clone(&link)));
                self.links.insert(link.ifindex, link);
                return;
            }
            _ => {}
        }
        let link = Arc::new(link);
        events.push(match self.links.insert(link.ifindex, Arc::clone(&link)) {
            Some(_) => LinkEvent::Changed(link),
            None => LinkEvent::Added(link),
        });
    }

    /// A link that is gone.
    pub(crate) fn remove(&mut self, ifindex: u32, events: &mut Vec<LinkEvent>) {
        self.default_routes.remove(&ifindex);
        events.extend(self.links.remove(&ifindex).map(LinkEvent::Removed));
    }

    /// All links, read anew.
    pub(crate) fn replace(&mut self, all: Vec<LinkMessage>, events: &mut Vec<LinkEvent>) {
        let present: BTreeSet<u32> = all.iter().map(|message| message.index).collect();
        let gone: Vec<u32> = self.links.keys().copied().filter(|ifindex| !present.contains(ifindex)).collect();
        for ifindex in gone {
            self.remove(ifindex, events);
        }
        for message in all {
            self.update(message, events);
        }
    }

    /// The links that carry a default route.
    pub(crate) fn set_default_routes(&mut self, interfaces: BTreeSet<u32>, events: &mut Vec<LinkEvent>) {
        let affected: Vec<u32> = self.default_routes.symmetric_difference(&interfaces).copied().collect();
        self.default_routes = interfaces;
        for ifindex in affected {
            let default_route = self.default_routes.contains(&ifindex);
            let Some(link) = self.links.get_mut(&ifindex) else { continue };
            let role = role(link, default_route);
            if role != link.role {
                *link = Arc::new(Link { role, ..Link::clone(link) });
                events.push(LinkEvent::Changed(Arc::clone(link)));
            }
        }
    }

    fn link(&self, message: LinkMessage) -> Link {
        let mut link = Link {
            ifindex: message.index,
            name: message.name.into(),
            kind: message.kind.map(Into::into),
            arphrd: message.arphrd,
            mac_header: mac_header(message.arphrd),
            up: message.up,
            mtu: message.mtu,
            master: message.master,
            peer: message.peer,
            peer_nsid: message.peer_nsid.filter(|&id| id >= 0),
            role: Role::Other,
        };
        link.role = role(&link, self.default_routes.contains(&link.ifindex));
        link
    }
}

fn role(link: &Link, default_route: bool) -> Role {
    Role::of(Traits {
        kind: link.kind.as_deref(),
        arphrd: link.arphrd,
        up: link.up,
        enslaved: link.master.is_some(),
        peer_elsewhere: link.peer_nsid.is_some(),
        default_route,
    })
}

/// Whether two links cannot be one that changed: kind and type are for life, and so is a veth's peer but for its
/// namespace.
fn replaced(before: &Link, now: &Link) -> bool {
    before.kind != now.kind
        || (now.kind.as_deref() == Some("veth") && before.peer != now.peer && before.peer_nsid == now.peer_nsid)
}

#[cfg(test)]
mod tests;
