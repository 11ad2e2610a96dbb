//! A thread that attaches the classifiers to interfaces as they come and go, and keeps the set of observed namespaces.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::classifier_hooks;
use super::status::Shared;
use crate::bpf::classifiers::{Classifiers, Directions, Placement, Verdict};
use crate::bpf::clsact;
use crate::bpf::load::Scope;
use crate::http::status::InterfaceStatus;
use crate::kernel::features;
use crate::kernel::privileges::{Duty, Privileges};
use crate::net::{Link, LinkEvent, PlacesReader, Role, stack};

/// How often it is checked that nobody's program has gone before ours.
const VERIFY: Duration = Duration::from_secs(10);
/// How long an interface that needs clsact is left to whoever has made it. A clsact qdisc sits where an `ingress` qdisc
/// would, and setting a pod's interface up may mean to add one and to fail if the place is taken (the CNI's bandwidth
/// plugin does). Setting up takes a second at most; tcx is in nobody's way and waits for nothing.
const FRESH: Duration = Duration::from_secs(5);
/// How often it is looked whether one is fresh no more.
const RIPEN: Duration = Duration::from_secs(1);
/// How long removing clsact filters may take at the end: a few milliseconds each.
const REMOVE: Duration = Duration::from_secs(2);

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

    /// Lets the thread end, and waits until it has removed its clsact filters. Links the kernel detaches when the process
    /// ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(REMOVE, self.failed()).await.is_err() {
            tracing::warn!("clsact filters are left; they are inert, and the next start removes them");
        }
    }
}

/// What the thread works with.
pub struct Parts {
    /// None: they could not be loaded.
    pub classifiers: Option<Classifiers>,
    /// It is not switched off.
    pub tcx_wanted: bool,
    /// The set of observed namespaces.
    pub scope: Scope,
    /// What is on this node.
    pub places: PlacesReader,
    /// Where it tells what is attached.
    pub shared: Arc<Shared>,
    /// What its thread keeps.
    pub privileges: Privileges,
}

/// Starts the task. `changed` tells of new snapshots.
pub fn spawn(
    parts: Parts,
    events: mpsc::Receiver<LinkEvent>,
    changed: watch::Receiver<u64>,
    shutdown: &CancellationToken,
) -> io::Result<Attacher> {
    let (settle, settled) = watch::channel(false);
    let stop = shutdown.child_token();
    let Parts { classifiers, tcx_wanted, scope, places, shared, privileges } = parts;
    let table = BTreeMap::new();
    let task =
        Task { classifiers, tcx_wanted, scope, places, table, links: BTreeMap::new(), fresh: BTreeMap::new(), shared };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let until = stop.clone();
    std::thread::Builder::new().name("netobs-attach".to_owned()).spawn(move || {
        privileges.keep_for(Duty::Attacher);
        runtime.block_on(task.run(events, changed, settle, until));
    })?;
    Ok(Attacher { settled, stop })
}

struct Task {
    classifiers: Option<Classifiers>,
    tcx_wanted: bool,
    scope: Scope,
    places: PlacesReader,
    table: BTreeMap<u32, InterfaceStatus>,
    /// The links as the last event told of each.
    links: BTreeMap<u32, Arc<Link>>,
    /// When those came that have come lately.
    fresh: BTreeMap<u32, Instant>,
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
        // Even where tcx works: it may not have when the filters were made.
        let (removed, all) = clsact::remove_stale(links.iter().map(|link| link.ifindex));
        if removed > 0 {
            tracing::info!(removed, "removed clsact filters that an earlier netobs had left");
        }
        if let Err(error) = all {
            tracing::warn!(%error, "clsact filters of an earlier netobs cannot all be found or removed; they are inert");
        }
        self.links = links.iter().map(|link| (link.ifindex, Arc::clone(link))).collect();
        for link in links {
            self.place(&link);
        }
        self.publish();
        settle.send_replace(true);
        let mut verify = tokio::time::interval(VERIFY);
        verify.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ripen = tokio::time::interval(RIPEN);
        ripen.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(LinkEvent::Removed(link)) => {
                        self.table.remove(&link.ifindex);
                        self.fresh.remove(&link.ifindex);
                        self.links.remove(&link.ifindex);
                        if let Some(classifiers) = &mut self.classifiers {
                            classifiers.detach(link.ifindex);
                        }
                        self.place_above(&link);
                    }
                    Some(event) => {
                        if !self.table.contains_key(&event.link().ifindex) {
                            self.fresh.insert(event.link().ifindex, Instant::now());
                        }
                        let left = self.links.insert(event.link().ifindex, Arc::clone(event.link()));
                        self.place(event.link());
                        if let Some(left) = left.filter(|before| before.master != event.link().master) {
                            self.place_above(&left);
                        }
                    }
                    None => break,
                },
                Ok(()) = changed.changed() => self.update_scope(),
                _ = verify.tick() => self.verify(),
                _ = ripen.tick(), if !self.fresh.is_empty() => self.ripen(),
                () = stop.cancelled() => break,
            }
            self.publish();
        }
        if let Some(classifiers) = &mut self.classifiers {
            classifiers.detach_filters();
        }
    }

    fn publish(&self) {
        if let Some(classifiers) = &self.classifiers {
            let in_use = classifiers.in_use();
            let lines = classifier_hooks::lines(self.tcx_wanted, &in_use);
            let feature = features::interfaces(self.tcx_wanted, in_use.tcx, in_use.clsact, in_use.refusal.as_deref());
            self.shared.set_classifier_hooks(lines, feature);
        }
        self.shared.set_interfaces(self.table.values().cloned().collect());
    }

    /// Attaches to a link, and differently to those on top of it if need be.
    fn place(&mut self, link: &Link) {
        self.place_one(link);
        self.place_above(link);
    }

    fn place_above(&mut self, link: &Link) {
        for above in stack::above(link, &self.links).into_iter().cloned().collect::<Vec<_>>() {
            self.place_one(&above);
        }
    }

    /// Which classifiers a link gets. Where all that it receives was met below it, it continues trails.
    fn placement(&self, link: &Link) -> Option<Placement> {
        let placement = placement(link)?;
        let below = stack::below(link, &self.links);
        let met = |ifindex: &u32| {
            !self.links.get(ifindex).is_some_and(|link| link.up)
                || self.table.get(ifindex).is_some_and(|row| !row.attached.is_empty())
        };
        let on_top = placement == Placement::Port && !below.is_empty() && below.iter().all(met);
        Some(if on_top { Placement::Upper } else { placement })
    }

    /// Attaches to a link, or detaches from one whose role has changed.
    fn place_one(&mut self, link: &Link) {
        let placement = self.placement(link);
        let attached = match (&mut self.classifiers, placement) {
            (None, _) => Err("the classifiers could not be loaded, see the hooks".to_owned()),
            (Some(classifiers), None) => {
                classifiers.detach(link.ifindex);
                Err("no pod's, no bridge, uplink or tunnel".to_owned())
            }
            (Some(classifiers), Some(placement)) => {
                let fresh = self.fresh.contains_key(&link.ifindex);
                classifiers.attach(link.ifindex, placement, fresh).map_err(|error| explain(&error))
            }
        };
        let (attached, why_not) = match attached {
            Ok(directions) => (names(directions), (!directions.egress).then(|| NO_EGRESS.to_owned())),
            Err(why_not) => (Vec::new(), Some(why_not)),
        };
        let status =
            InterfaceStatus { ifindex: link.ifindex, name: link.name.to_string(), kind: kind(link), attached, why_not };
        self.table.insert(link.ifindex, status);
    }

    fn update_scope(&mut self) {
        let inodes = self.places.places().scope_inodes();
        let refused = self.scope.set(&inodes);
        self.shared.set_scope(inodes.len(), refused);
    }

    /// Attaches to what is fresh no more.
    fn ripen(&mut self) {
        let before = self.fresh.len();
        self.fresh.retain(|_, came| came.elapsed() < FRESH);
        if self.fresh.len() < before {
            self.place_missing();
        }
    }

    /// What could not be attached may be now.
    fn place_missing(&mut self) {
        for link in self.places.places().links().values() {
            let missing = self.table.get(&link.ifindex).is_some_and(|row| row.attached.is_empty());
            if missing && placement(link).is_some() {
                self.place(link);
            }
        }
    }

    fn verify(&mut self) {
        self.place_missing();
        let (Some(classifiers), table) = (&mut self.classifiers, &mut self.table) else { return };
        classifiers.verify_first(|ifindex, verdict, directions| {
            let Some(row) = table.get_mut(&ifindex) else { return };
            match verdict {
                Verdict::Restored => {
                    tracing::info!(
                        row.name,
                        "ours had been removed, or another program had gone before it; it is first again"
                    );
                    row.attached = names(directions);
                    row.why_not = (!directions.egress).then(|| NO_EGRESS.to_owned());
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

/// Which classifiers a link gets by itself; `None`: none.
fn placement(link: &Link) -> Option<Placement> {
    let outer = if link.mac_header == 0 { Placement::Layer3 } else { Placement::Port };
    match link.role {
        Role::PodSide | Role::Uplink | Role::Tunnel => Some(outer),
        Role::Bridge | Role::Loopback => Some(Placement::Upper),
        // A port of a bridge or bond: packets come in here.
        Role::Other if link.master.is_some() && link.up => Some(outer),
        Role::Other => None,
    }
}

/// Why there is no egress.
const NO_EGRESS: &str = "somebody's ingress qdisc is in the place of clsact: what the interface sends is not seen";

fn names(directions: Directions) -> Vec<String> {
    let names = [(directions.ingress, "ingress"), (directions.egress, "egress")];
    names.into_iter().filter(|(attached, _)| *attached).map(|(_, name)| name.to_owned()).collect()
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
        Some(libc::EOPNOTSUPP) => "neither tcx nor clsact: its filters are in a block that it shares".to_owned(),
        Some(libc::EEXIST) => "no tcx, and all clsact preferences of netobs's are taken".to_owned(),
        None if error.kind() == io::ErrorKind::WouldBlock => {
            "no tcx: clsact is left until whoever made the interface has set it up".to_owned()
        }
        _ => error.to_string(),
    }
}
