//! The follower: a thread that keeps the links and the snapshot of places up to date.
//!
//! Link events go out as they are heard. A look at processes, namespaces and cgroups (a few milliseconds) follows at
//! once, then so seldom that looks take a tenth of a core at most; again, ever more slowly, while a new pod's namespace has no process in it yet (the
//! runtime makes the interface first); for something asked for and unknown; and every 30 s.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::backlog::Backlog;
use super::links::{LinkEvent, LinkTable};
use super::look::Looker;
use super::places::PlacesSnapshot;
use super::role::Role;
use super::rtnetlink::{link, route};
use super::wanted::Wanted;
use crate::kernel::privileges::{Duty, Privileges};
use crate::netlink::socket::{Asker, Heard, Listener};

/// Time from one look to the next, in times what the last one took: while links come and go without end, looks take a
/// tenth of a core.
const DEBOUNCE_FACTOR: u32 = 9;
/// The same, at least and at most.
const DEBOUNCE: Duration = Duration::from_millis(10);
const DEBOUNCE_MOST: Duration = Duration::from_secs(1);
/// The same for looks that are made for an unknown key: whoever makes the kernel drop packets of ever new cgroups costs
/// a fiftieth of a core.
const UNKNOWN_FACTOR: u32 = 49;
const UNKNOWN: Duration = Duration::from_millis(100);
/// Time between regular looks.
const REGULAR: Duration = Duration::from_secs(30);
/// How long a new interface without a pod is looked at again, and at most how seldom.
const YOUNG: Duration = Duration::from_mins(1);
const YOUNG_PAUSE: Duration = Duration::from_secs(8);
/// A pause after an error, and while a receiver is slow.
const AFTER_ERROR: Duration = Duration::from_secs(1);
const SLOW_RECEIVER: Duration = Duration::from_millis(20);
/// Longest sleep: how late an end asked for by the token alone is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// Datagrams taken before anything else has its turn.
const MAX_DATAGRAMS: usize = 256;

/// What the follower shares with its handle.
#[derive(Debug)]
pub(super) struct Shared {
    pub wanted: Arc<Wanted>,
    pub places: ArcSwap<PlacesSnapshot>,
    pub shutdown: CancellationToken,
}

pub(super) struct Follower {
    shared: Arc<Shared>,
    events: mpsc::Sender<LinkEvent>,
    changed: watch::Sender<u64>,
    backlog: Backlog,
    asker: Asker,
    listener: Listener,
    table: LinkTable,
    looker: Looker,
    /// When links were first seen that may still get a pod.
    young: HashMap<u32, Instant>,
    resyncs: u64,
    /// Links have to be read again, routes have to be read again.
    stale_links: bool,
    stale_routes: bool,
    error: Option<String>,
    last_look: Instant,
    next_look: Instant,
    debounce: Duration,
    debounce_unknown: Duration,
}

impl Follower {
    /// Opens the sockets in the calling thread's namespace, reads everything and publishes the first snapshot.
    pub(super) fn start(
        shared: Arc<Shared>,
        events: mpsc::Sender<LinkEvent>,
        changed: watch::Sender<u64>,
    ) -> io::Result<Self> {
        let now = Instant::now();
        // The listener first: what changes while the tables are read is heard after.
        let listener = Listener::open(link::GROUP | route::GROUPS)?;
        let mut follower = Self {
            looker: Looker::new(crate::kernel::scope::own_netns()?),
            shared,
            events,
            changed,
            backlog: Backlog::default(),
            asker: Asker::open()?,
            listener,
            table: LinkTable::default(),
            young: HashMap::new(),
            resyncs: 0,
            stale_links: true,
            stale_routes: true,
            error: None,
            last_look: now,
            next_look: now,
            debounce: DEBOUNCE,
            debounce_unknown: UNKNOWN,
        };
        follower.read_tables()?;
        follower.look(true);
        Ok(follower)
    }

    /// Follows until the end is asked for.
    pub(super) fn run(mut self, privileges: Privileges) {
        privileges.keep_for(Duty::Places);
        while !self.shared.shutdown.is_cancelled() {
            if let Err(error) = self.sleep() {
                tracing::warn!(%error, "waiting for netlink failed");
                std::thread::sleep(AFTER_ERROR);
            }
            if self.shared.wanted.answer() {
                self.look_by(self.last_look + self.debounce_unknown);
            }
            self.hear();
            self.deliver(Vec::new());
            if Instant::now() >= self.next_look {
                let regular = self.last_look.elapsed() >= REGULAR;
                self.stale_links |= regular;
                self.stale_routes |= regular;
                self.error = self.read_tables().err().map(|error| error.to_string());
                self.look(regular);
            }
        }
    }

    fn sleep(&self) -> io::Result<()> {
        let mut pause = self.next_look.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP);
        if !self.backlog.is_empty() {
            pause = pause.min(SLOW_RECEIVER);
        }
        let mut watched = [
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.shared.wanted.as_fd(), PollFlags::IN),
        ];
        let timeout = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the news that are there.
    fn hear(&mut self) {
        let mut events = Vec::new();
        for _ in 0..MAX_DATAGRAMS {
            let (table, stale_routes) = (&mut self.table, &mut self.stale_routes);
            let heard = self.listener.hear(|message| match message.kind {
                link::RTM_NEWLINK => {
                    if let Some(link) = link::parse(message.payload) {
                        // A link that goes down takes IPv4 routes with it without a word.
                        let known = table.links().get(&link.index);
                        *stale_routes |= known.is_some_and(|known| known.up != link.up);
                        table.update(link, &mut events);
                    }
                }
                link::RTM_DELLINK => {
                    if let Some(link) = link::parse(message.payload) {
                        table.remove(link.index, &mut events);
                    }
                }
                route::RTM_NEWROUTE | route::RTM_DELROUTE => *stale_routes |= route::is_default(message.payload),
                _ => {}
            });
            match heard {
                Ok(Heard::Some) => {}
                Ok(Heard::Nothing) => break,
                Ok(Heard::Lost) => {
                    self.resyncs += 1;
                    self.stale_links = true;
                    self.stale_routes = true;
                }
                Err(error) => {
                    self.error = Some(error.to_string());
                    self.stale_links = true;
                    self.look_by(Instant::now() + AFTER_ERROR);
                    // The socket stays readable: do not spin.
                    std::thread::sleep(DEBOUNCE);
                    break;
                }
            }
        }
        for event in &events {
            if let LinkEvent::Removed(link) = event {
                self.young.remove(&link.ifindex);
            }
        }
        if !events.is_empty() || self.stale_routes || self.stale_links {
            self.look_by(self.last_look + self.debounce);
        }
        self.deliver(events);
    }

    /// Reads the tables that are out of date. They stay so if it fails.
    fn read_tables(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        let result = self.read_stale(&mut events);
        self.deliver(events);
        if result.is_err() {
            self.look_by(Instant::now() + AFTER_ERROR);
        }
        result
    }

    fn read_stale(&mut self, events: &mut Vec<LinkEvent>) -> io::Result<()> {
        if self.stale_routes {
            let routes = self.asker.dump(route::RTM_GETROUTE, &route::request(), |message| {
                (message.kind == route::RTM_NEWROUTE).then(|| route::default_interfaces(message.payload))
            })?;
            let interfaces: BTreeSet<u32> = routes.into_iter().flatten().collect();
            self.table.set_default_routes(interfaces, events);
            self.stale_routes = false;
        }
        if self.stale_links {
            let links = self.asker.dump(link::RTM_GETLINK, &link::request(), |message| {
                (message.kind == link::RTM_NEWLINK).then(|| link::parse(message.payload))?
            })?;
            self.table.replace(links, events);
            self.stale_links = false;
        }
        Ok(())
    }

    /// Looks at the node and publishes what is there.
    fn look(&mut self, regular: bool) {
        let start = Instant::now();
        let asked = self.shared.wanted.take();
        let trouble = (self.resyncs, self.error.clone());
        let snapshot = Arc::new(self.looker.look(&mut self.asker, &self.table, &self.shared.wanted, trouble));
        self.last_look = Instant::now();
        let took = self.last_look.duration_since(start);
        self.debounce = (took * DEBOUNCE_FACTOR).clamp(DEBOUNCE, DEBOUNCE_MOST);
        self.debounce_unknown = (took * UNKNOWN_FACTOR).clamp(UNKNOWN, REGULAR);
        self.next_look = self.last_look + if self.error.is_some() { AFTER_ERROR } else { REGULAR };
        if let Some(pause) = self.pause_for_young(&snapshot) {
            self.look_by(self.last_look + pause);
        }
        let fruitless = asked.into_iter().filter(|&key| !snapshot.knows(key));
        self.shared.wanted.settle(fruitless, regular);
        let before = self.shared.places.swap(Arc::clone(&snapshot));
        if !before.same(&snapshot) {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// When to look again for the sake of new interfaces whose pod is not known yet: after half of the youngest one's
    /// age, so that a pod is found late by half the time it took to start.
    fn pause_for_young(&mut self, snapshot: &PlacesSnapshot) -> Option<Duration> {
        let now = self.last_look;
        let unsettled = snapshot.links.values().filter(|link| {
            link.role == Role::PodSide
                && snapshot
                    .interfaces
                    .get(&link.ifindex)
                    .and_then(|interface| interface.peer_netns)
                    .is_none_or(|inode| !snapshot.netns_pods.contains_key(&inode))
        });
        let mut young = std::mem::take(&mut self.young);
        self.young = unsettled.map(|link| (link.ifindex, young.remove(&link.ifindex).unwrap_or(now))).collect();
        let age = self.young.values().map(|&since| now.duration_since(since)).min()?;
        (age < YOUNG).then(|| (age / 2).clamp(self.debounce, YOUNG_PAUSE))
    }

    fn look_by(&mut self, when: Instant) {
        self.next_look = self.next_look.min(when);
    }

    /// Hands events over without ever waiting: what does not fit now stays in the backlog.
    fn deliver(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            self.looker.note(&event);
            self.backlog_or_send(event);
        }
        while let Some(event) = self.backlog.pop() {
            // Closed: nobody listens any more.
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.backlog.restore(event);
                break;
            }
        }
    }

    fn backlog_or_send(&mut self, event: LinkEvent) {
        if !self.backlog.is_empty() {
            return self.backlog.push(event);
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.backlog.push(event);
        }
    }
}
