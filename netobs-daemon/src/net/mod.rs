//! What this node is: its links, network namespaces and cgroups, and which of them are pods'.
//!
//! One thread ([`spawn`]) follows netlink and publishes immutable snapshots; whatever decides is a plain table or
//! function in a module of its own.

mod backlog;
mod cgroups;
mod follow;
mod lingering;
pub mod links;
mod look;
mod namespaces;
mod places;
pub mod pod_uid;
mod role;
mod rtnetlink;
pub mod stack;
#[cfg(test)]
mod tests;
mod wanted;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use follow::{Follower, Shared};

use crate::kernel::privileges::Privileges;
pub use links::{Link, LinkEvent};
pub use places::{PlacesSnapshot, PlacesState};
pub use role::Role;

/// Link events on their way; more wait in the follower, folded per link.
const EVENTS: usize = 1024;

/// Starts the follower in the network namespace of the calling thread.
///
/// When this returns the first snapshot is complete, and each link is on its way as [`LinkEvent::Added`]. The thread
/// ends when `shutdown` is cancelled (within half a second) or the handle is dropped (at once).
///
/// # Errors
/// Netlink sockets cannot be opened or do not answer, or `/proc` is not mounted.
pub fn spawn(privileges: Privileges, shutdown: &CancellationToken) -> io::Result<NetHandle> {
    let shared = Arc::new(Shared {
        wanted: Arc::new(wanted::Wanted::new()?),
        places: ArcSwap::default(),
        shutdown: shutdown.child_token(),
    });
    let (events, receiver) = mpsc::channel(EVENTS);
    let (changed, watcher) = watch::channel(0);
    let follower = Follower::start(Arc::clone(&shared), events, changed)?;
    let thread = std::thread::Builder::new().name("netobs-net".to_owned()).spawn(move || follower.run(privileges))?;
    Ok(NetHandle { shared, events: Some(receiver), changed: watcher, thread: Some(thread) })
}

/// The follower, as its users see it.
#[derive(Debug)]
pub struct NetHandle {
    shared: Arc<Shared>,
    events: Option<mpsc::Receiver<LinkEvent>>,
    changed: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl NetHandle {
    /// The newest snapshot; cheap.
    pub fn places(&self) -> Arc<PlacesSnapshot> {
        self.shared.places.load_full()
    }

    /// The newest snapshot, for users that outlive the handle's owner.
    pub fn reader(&self) -> PlacesReader {
        PlacesReader(Arc::clone(&self.shared))
    }

    /// The link events, for the one who attaches programs; `None` the second time. It ends when the follower does.
    pub fn take_link_events(&mut self) -> Option<mpsc::Receiver<LinkEvent>> {
        self.events.take()
    }

    /// Changes whenever a snapshot differs from the one before; closed when the follower has ended.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Asks for a look at the node soon. Look-ups of unknown keys do so by themselves.
    pub fn request_refresh(&self) {
        self.shared.wanted.look();
    }
}

impl Drop for NetHandle {
    fn drop(&mut self) {
        self.shared.shutdown.cancel();
        self.shared.wanted.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows links panicked");
        }
    }
}

/// Reads snapshots.
#[derive(Clone, Debug)]
pub struct PlacesReader(Arc<Shared>);

impl PlacesReader {
    /// The newest snapshot; cheap.
    pub fn places(&self) -> Arc<PlacesSnapshot> {
        self.0.places.load_full()
    }
}
