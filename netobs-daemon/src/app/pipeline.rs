//! The pipeline's thread: ring records in, published events out.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netobs_common::counters::family;
use netobs_common::record::kind;

use super::names::Names;
use super::programs::KernelSide;
use super::status::Shared;
use crate::bpf::buckets::Buckets;
use crate::bpf::rings::{Rings, Waker};
use crate::cluster::{ClusterHandle, Snapshot};
use crate::detect::flood::{FloodDetector, FloodLimits};
use crate::event::decode::decode;
use crate::event::joined::Joined;
use crate::event::raw::RawEvent;
use crate::flow::{DropReasons, FlowLimits, FlowStats, FlowTable};
use crate::kernel::clock;
use crate::kernel::privileges::{Duty, Privileges};
use crate::net::{PlacesReader, PlacesSnapshot};
use crate::pipeline::{Ledger, Publisher};
use crate::resolve::{Sources, observe};

/// How often the buckets are looked at.
const TICK_NS: u64 = 1_000_000_000;
/// How often idle buckets make room even though nothing was coalesced.
const TIDY_TICKS: u64 = 30;

/// What the thread works with.
pub struct Parts {
    /// Records.
    pub rings: Rings,
    /// Counts of what was not recorded.
    pub buckets: Buckets,
    /// Counters.
    pub kernel: Arc<KernelSide>,
    /// Where events go.
    pub publisher: Arc<Publisher>,
    /// Names by place.
    pub places: PlacesReader,
    /// Names by address.
    pub cluster: Arc<ClusterHandle>,
    /// The kernel's names.
    pub names: Names,
    /// This node.
    pub node: String,
    /// Bounds of the flow table.
    pub limits: FlowLimits,
    /// Numbers of the running kernel's drop reasons that it asks about.
    pub reasons: DropReasons,
    /// When resets are a flood.
    pub floods: FloodLimits,
    /// For the status.
    pub shared: Arc<Shared>,
    /// What the thread keeps.
    pub privileges: Privileges,
}

/// The running thread.
pub struct Pipeline {
    waker: Arc<Waker>,
    ending: Arc<AtomicBool>,
    finished: tokio::sync::oneshot::Receiver<()>,
}

impl Pipeline {
    /// Lets the thread empty the rings, tell what is coalesced, and end.
    pub async fn finish(self) {
        self.ending.store(true, Ordering::Release);
        self.waker.wake();
        // An error means that it has ended before, which `failed` tells.
        let _ = self.finished.await;
    }

    /// Ends if the thread does before it is asked to.
    pub async fn failed(&mut self) {
        let _ = (&mut self.finished).await;
    }
}

/// Starts the thread.
pub fn spawn(parts: Parts) -> io::Result<Pipeline> {
    let waker = Arc::new(Waker::new()?);
    let ending = Arc::new(AtomicBool::new(false));
    let flow = FlowTable::new(parts.limits, parts.reasons.clone());
    let floods = FloodDetector::new(parts.floods);
    let told = FlowStats::default();
    let mut worker = Worker { parts, flow, floods, out: Vec::new(), told, coalesced: 0, ticks: 0 };
    let (done, finished) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netobs-pipeline".to_owned()).spawn({
        let (waker, ending) = (Arc::clone(&waker), Arc::clone(&ending));
        move || {
            worker.parts.privileges.keep_for(Duty::Pipeline);
            worker.run(&waker, &ending);
            // Nobody waits any more when the deadline has passed.
            let _ = done.send(());
        }
    })?;
    Ok(Pipeline { waker, ending, finished })
}

struct Worker {
    parts: Parts,
    flow: FlowTable,
    floods: FloodDetector,
    out: Vec<Joined>,
    /// What the ledger was told of the flow table.
    told: FlowStats,
    coalesced: u64,
    ticks: u64,
}

/// Names as of the start of a batch.
struct BatchNames {
    places: Arc<PlacesSnapshot>,
    directory: Arc<Snapshot>,
}

impl Worker {
    fn run(&mut self, waker: &Waker, ending: &AtomicBool) {
        let mut next_tick = clock::boot_ns() + TICK_NS;
        loop {
            waker.clear();
            let last = ending.load(Ordering::Acquire);
            // Read before the rings are: no question is given up while its answer waits to be read.
            let now = clock::boot_ns();
            let drained = self.drain();
            // With records left behind, their times are not: nothing is given up until they are read.
            let caught_up = !Rings::left_some(drained);
            if caught_up && self.flow.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.flow.expire(now, &mut self.out);
                self.publish(&self.names());
            }
            if now >= next_tick || last {
                self.tick(now, caught_up);
                next_tick = now + TICK_NS;
            }
            if last && caught_up {
                self.floods.finish(now, &mut self.out);
                self.publish(&self.names());
                return;
            }
            let until = self.flow.next_deadline().map_or(next_tick, |deadline| deadline.min(next_tick));
            let until = Duration::from_nanos(until.saturating_sub(clock::boot_ns()));
            if let Err(error) = self.parts.rings.wait(drained, Some(until), waker.as_fd()) {
                tracing::error!(%error, "the rings cannot be waited for");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Takes a batch of records through decode, correlate, resolve and publish.
    fn drain(&mut self) -> usize {
        let names = self.names();
        let Self { parts, flow, floods, out, told, .. } = self;
        let ledger = parts.publisher.ledger();
        let (kernel_names, node, publisher) = (&parts.names, parts.node.as_str(), &parts.publisher);
        parts.rings.drain(|record| {
            let event = match decode(record) {
                Ok(mut event) => {
                    if let RawEvent::Drop(drop) = &mut event {
                        kernel_names.conclude(drop);
                    }
                    event
                }
                Err(error) => {
                    ledger.undecodable(family_of(record), &error);
                    return;
                }
            };
            ledger.decoded(event.family());
            flow.ingest(event, out);
            tell(ledger, told, &flow.stats());
            for joined in out.drain(..) {
                floods.observe(&joined);
                publish(&joined, &names, kernel_names, node, publisher);
            }
        })
    }

    fn names(&self) -> BatchNames {
        BatchNames { places: self.parts.places.places(), directory: self.parts.cluster.snapshot() }
    }

    fn publish(&mut self, names: &BatchNames) {
        tell(self.parts.publisher.ledger(), &mut self.told, &self.flow.stats());
        for joined in self.out.drain(..) {
            self.floods.observe(&joined);
            publish(&joined, names, &self.parts.names, &self.parts.node, &self.parts.publisher);
        }
    }

    /// What happens every second, busy or not.
    fn tick(&mut self, now: u64, caught_up: bool) {
        self.ticks += 1;
        if caught_up {
            self.flow.expire(now, &mut self.out);
        }
        let coalesced = self
            .parts
            .kernel
            .counters()
            .map_or(u64::MAX, |counters| counters.families.iter().map(|family| family.coalesced).sum());
        if coalesced != self.coalesced || self.ticks.is_multiple_of(TIDY_TICKS) {
            self.coalesced = coalesced;
            let (flow, out, names) = (&mut self.flow, &mut self.out, &self.parts.names);
            self.parts.buckets.drain(now, |mut counted| {
                names.conclude_of_many(&mut counted.key);
                out.extend(flow.coalesced(&counted));
            });
        }
        let names = self.names();
        self.publish(&names);
        self.floods.tick(now, &mut self.out);
        self.publish(&names);
        self.parts.shared.set_flow(self.flow.stats(), self.floods.stats());
    }
}

fn publish(joined: &Joined, names: &BatchNames, kernel: &Names, node: &str, publisher: &Publisher) {
    let sources = Sources { directory: &*names.directory, places: &*names.places, naming: kernel, node };
    let (observation, evidence) = observe(joined, &sources);
    let reference = Some(joined.reference).filter(|reference| *reference != 0);
    publisher.publish(observation, joined.stands_for, reference, &evidence);
}

/// Tells the ledger what has changed in the flow table.
fn tell(ledger: &Ledger, told: &mut FlowStats, stats: &FlowStats) {
    for family in 0..family::COUNT {
        if stats.folded[family] != told.folded[family] {
            ledger.folded(family, stats.folded[family].saturating_sub(told.folded[family]));
        }
        if stats.evicted[family] != told.evicted[family] {
            ledger.evicted(family, stats.evicted[family].saturating_sub(told.evicted[family]));
        }
        if stats.pending[family] != told.pending[family] {
            ledger.set_pending(family, stats.pending[family]);
        }
    }
    *told = *stats;
}

/// The family of a record that was not understood: its kind byte, if there is one, says whose it was.
fn family_of(record: &[u8]) -> usize {
    match record.get(2) {
        Some(&kind::DNS) => family::DNS,
        Some(&kind::MTU) => family::MTU,
        Some(&kind::RESET) => family::RESET,
        Some(&kind::SOCKET) => family::SOCKET,
        _ => family::DROP,
    }
}
