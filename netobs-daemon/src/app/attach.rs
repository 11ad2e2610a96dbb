//! A thread that attaches the classifiers to interfaces as they come and go, and keeps the set of observed namespaces.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::status::Shared;
use crate::bpf::load::Scope;
use crate::bpf::tcx::{Classifiers, Placement, Verdict};
use crate::http::status::InterfaceStatus;
use crate::net::{Link, LinkEvent, NetHandle, PlacesReader, Role};

/// How often it is checked that nobody's program has gone before ours.
const VERIFY: Duration = Duration::from_secs(10);

/// The running thread. Attaching waits for the kernel (`synchronize_rcu` under the network's lock, milliseconds each), so
/// it does not do that on the daemon's runtime.
pub struct Attacher {
    settled: watch::Receiver<bool>,
    stop: CancellationToken,
}

impl Attacher {
    /// Ends when every interface that was there at the start has been dealt with; whether it has (else the thread died).
    pub fn settled(&self) -> impl Future<Output = bool> + Send + 'static {
        let mut settled = self.settled.clone();
        async move { settled.wait_for(|settled| *settled).await.is_ok() }
    }

    /// Ends if the thread does before it is asked to.
    pub async fn failed(&mut self) {
        while self.settled.changed().await.is_ok() {}
    }

    /// Lets the thread end. It detaches as it goes; what is left the kernel detaches when the process ends.
    pub fn stop(&self) {
        self.stop.cancel();
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
) -> io::Result<Attacher> {
    let (settle, settled) = watch::channel(false);
    let stop = shutdown.child_token();
    let task = Task { classifiers, scope, places: net.reader(), table: BTreeMap::new(), shared };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (changed, until) = (net.changed(), stop.clone());
    std::thread::Builder::new()
        .name("netobs-attach".to_owned())
        .spawn(move || runtime.block_on(task.run(events, changed, settle, until)))?;
    Ok(Attacher { settled, stop })
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
        self.update_scope();
        // What is there at the start, from the first snapshot: ready means that these are attached.
        let links: Vec<_> = self.places.places().links().values().cloned().collect();
        for link in links {
            self.place(&link);
        }
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
        let inodes = self.places.places().scope_inodes();
        let refused = self.scope.set(&inodes);
        self.shared.set_scope(inodes.len(), refused);
    }

    fn verify(&mut self) {
        // What could not be attached may be now.
        for link in self.places.places().links().values() {
            let missing = self.table.get(&link.ifindex).is_some_and(|row| row.attached.is_empty());
            if missing && placement(link).is_some() {
                self.place(link);
            }
        }
        let (Some(classifiers), table) = (&mut self.classifiers, &mut self.table) else { return };
        classifiers.verify_first(|ifindex, verdict| {
            let Some(row) = table.get_mut(&ifindex) else { return };
            match verdict {
                Verdict::Restored => {
                    tracing::info!(row.name, "another program had gone before ours; ours is first again");
                    row.why_not = None;
                }
                Verdict::Behind => {
                    row.why_not =
                        Some("another program insists on going first: packets it takes are not seen".to_owned());
                }
                Verdict::Detached => {
                    row.attached.clear();
                    row.why_not = Some("could not be attached again; it is tried every 10 s".to_owned());
                }
            }
        });
    }
}

/// Which classifiers a link gets; `None`: none.
fn placement(link: &Link) -> Option<Placement> {
    let outer = if link.mac_header == 0 { Placement::Layer3 } else { Placement::Port };
    match link.role {
        Role::PodSide | Role::Uplink | Role::Tunnel => Some(outer),
        Role::Bridge | Role::Loopback => Some(Placement::Upper),
        // A port of a bridge or bond: packets come in here, and what is above it only continues their trails.
        Role::Other if link.master.is_some() && link.up => Some(outer),
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
