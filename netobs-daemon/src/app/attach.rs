//! Attaches the classifiers to interfaces as they come and go, and keeps the set of observed namespaces.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::status::Shared;
use crate::bpf::load::Scope;
use crate::bpf::tcx::{Classifiers, Placement};
use crate::http::status::InterfaceStatus;
use crate::net::{Link, LinkEvent, NetHandle, PlacesReader, Role};

/// How often it is checked that nobody's program has gone before ours.
const VERIFY: Duration = Duration::from_secs(10);

/// The running task.
pub struct Attacher {
    settled: watch::Receiver<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Attacher {
    /// Ends when every interface that was there at the start has been dealt with.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut settled = self.settled.clone();
        async move {
            // An error means that the task has ended, and with it the daemon is about to.
            let _ = settled.wait_for(|settled| *settled).await;
        }
    }

    /// Detaches everything and ends.
    pub async fn stopped(self, shutdown: &CancellationToken) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!("the task that attaches programs panicked");
            shutdown.cancel();
        }
    }
}

/// Starts the task.
pub fn spawn(
    classifiers: Option<Classifiers>,
    scope: Scope,
    events: mpsc::Receiver<LinkEvent>,
    net: &NetHandle,
    shared: Arc<Shared>,
    shutdown: &CancellationToken,
) -> Attacher {
    let (settle, settled) = watch::channel(false);
    let stop = shutdown.child_token();
    let task = Task { classifiers, scope, places: net.reader(), table: BTreeMap::new(), shared };
    let task = tokio::spawn(task.run(events, net.changed(), settle, stop.clone()));
    Attacher { settled, stop, task }
}

struct Task {
    classifiers: Option<Classifiers>,
    scope: Scope,
    places: PlacesReader,
    table: BTreeMap<u32, InterfaceStatus>,
    shared: Arc<Shared>,
}

impl Task {
    async fn run(
        mut self,
        mut events: mpsc::Receiver<LinkEvent>,
        mut changed: watch::Receiver<u64>,
        settle: watch::Sender<bool>,
        stop: CancellationToken,
    ) {
        // What is there at the start, from the first snapshot: ready means that these are attached.
        let links: Vec<_> = self.places.places().links().values().cloned().collect();
        for link in links {
            self.place(&link);
        }
        self.update_scope();
        self.shared.set_interfaces(self.table.values().cloned().collect());
        settle.send_replace(true);
        let mut verify = tokio::time::interval(VERIFY);
        verify.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(LinkEvent::Removed(link)) => {
                        self.table.remove(&link.ifindex);
                        if let Some(classifiers) = &mut self.classifiers {
                            classifiers.detach(link.ifindex);
                        }
                    }
                    Some(event) => self.place(event.link()),
                    None => break,
                },
                Ok(()) = changed.changed() => self.update_scope(),
                _ = verify.tick() => self.verify(),
                () = stop.cancelled() => break,
            }
            self.shared.set_interfaces(self.table.values().cloned().collect());
        }
    }

    /// Attaches to a link, or detaches from one whose role has changed.
    fn place(&mut self, link: &Link) {
        let attached = match (&mut self.classifiers, placement(link)) {
            (None, _) => Err("tcx is not to be had, see the hooks".to_owned()),
            (Some(classifiers), None) => {
                classifiers.detach(link.ifindex);
                Err("no pod's, no bridge, uplink or tunnel".to_owned())
            }
            (Some(classifiers), Some(placement)) => {
                classifiers.attach(link.ifindex, placement).map_err(|error| explain(&error))
            }
        };
        let status = InterfaceStatus {
            ifindex: link.ifindex,
            name: link.name.to_string(),
            kind: kind(link),
            attached: if attached.is_ok() { vec!["ingress".to_owned(), "egress".to_owned()] } else { Vec::new() },
            why_not: attached.err(),
        };
        self.table.insert(link.ifindex, status);
    }

    fn update_scope(&mut self) {
        let refused = self.scope.set(&self.places.places().scope_inodes());
        if refused > 0 {
            tracing::warn!(namespaces = refused, "more network namespaces than can be observed");
        }
    }

    fn verify(&mut self) {
        let Some(classifiers) = &mut self.classifiers else { return };
        for ifindex in classifiers.verify_first() {
            tracing::info!(ifindex, "another program had gone before ours; ours is first again");
        }
    }
}

/// Which classifiers a link gets; `None`: none.
fn placement(link: &Link) -> Option<Placement> {
    let outer = if link.mac_header == 0 { Placement::Layer3 } else { Placement::Port };
    match link.role {
        Role::PodSide | Role::Uplink | Role::Tunnel => Some(outer),
        Role::Bridge | Role::Loopback => Some(Placement::Upper),
        Role::Other => None,
    }
}

fn kind(link: &Link) -> String {
    match (link.role, &link.kind) {
        (Role::PodSide, _) => "pod".to_owned(),
        (Role::Bridge, _) => "bridge".to_owned(),
        (Role::Uplink, _) => "uplink".to_owned(),
        (Role::Loopback, _) => "loopback".to_owned(),
        (_, Some(kind)) => kind.to_string(),
        (_, None) => "device".to_owned(),
    }
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENODEV) => "the interface went away".to_owned(),
        Some(libc::EINVAL) => "this kernel has no tcx (6.6 has it)".to_owned(),
        _ => error.to_string(),
    }
}
