//! Wires the stages: build, run, drain.

mod attach;
mod check;
mod classifier_hooks;
mod names;
mod netfilter;
mod pipeline;
mod programs;
mod scrape;
mod status;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use check::check;

use crate::bpf::lookups_need_capability;
use crate::cluster;
use crate::config::{Config, Feature};
use crate::detect::flood::FloodLimits;
use crate::flow::DropReasons;
use crate::http::{self, Api, ApiLimits, ApiParts, Readiness, ServeLimits};
use crate::kernel::features::{self, Probed};
use crate::kernel::preflight::Preflight;
use crate::kernel::privileges::{Duty, Privileges};
use crate::kernel::{clock, facts::Facts, scope};
use crate::net;
use crate::pipeline::{HistoryLimits, Ledger, Origin, Publisher, Store};

/// What the daemon's threads keep once they have what they need. Asked before there is any but the first.
pub fn privileges(config: &Config) -> Privileges {
    Privileges { maps: lookups_need_capability(), files: config.reads_files_again() }
}

/// Runs the daemon until SIGTERM or SIGINT.
pub async fn run(config: Config, privileges: Privileges) -> Result<()> {
    let preflight = may_run(&config)?;
    let shutdown = CancellationToken::new();
    // From here on a signal ends the daemon in good order.
    let mut signals = Signals::new()?;
    // Sockets first: a mistake in the configuration shows before anything is attached.
    let listeners = http::listen::bind(&config.listen).await?;
    let node = cluster::node_name(config.node_name.as_deref());
    let scrape = match &config.scrape {
        Some(wanted) => Some(scrape::bind(wanted, &node).await?),
        None => None,
    };
    let facts = Facts::read(config.btf.as_deref()).context("the kernel's BTF cannot be read")?;
    let own_netns = scope::own_netns().context("the daemon's own network namespace is unknown")?;

    let readiness = Readiness::new();
    let programs_ready = readiness.latch("programs", "the kernel programs are being loaded");
    let metadata_ready = readiness.latch("metadata", "the cluster's objects are being listed");

    let ledger = Arc::new(Ledger::new());
    let publisher = publisher(&node, &ledger)?;

    let mut net = net::spawn(privileges, &shutdown).context("this node's interfaces cannot be read")?;
    let boot_clock: cluster::BootClock = Arc::new(clock::boot_ns);
    let cluster = cluster::spawn(config.metadata.clone(), node.clone(), boot_clock, shutdown.clone()).await?;
    let cluster = Arc::new(cluster);

    let programs = programs::load(&config, &facts, own_netns)?;
    let names = names::Names::new(facts.reasons, facts.reset_reasons, programs.first_hooks);
    let shared = status::Shared::new(
        &config,
        preflight.release,
        programs.hooks,
        features::judge(&Probed { functions: names.has_functions(), ..programs.probed }),
        programs.map_bytes,
        net.reader(),
        Arc::clone(&cluster),
    );
    let shared = Arc::new(shared);
    ledger.set_kernel(Arc::clone(&programs.kernel) as _);

    let events = net.take_link_events().context("link events are taken twice")?;
    let parts = attach::Parts {
        classifiers: programs.classifiers,
        tcx_wanted: config.wants(Feature::Tcx),
        scope: programs.scope,
        places: net.reader(),
        shared: Arc::clone(&shared),
        privileges,
    };
    let mut attacher = attach::spawn(parts, events, net.changed(), &shutdown)?;
    let kernel = Arc::clone(&programs.kernel);
    let mut pipeline = pipeline::spawn(pipeline::Parts {
        rings: programs.rings,
        buckets: programs.buckets,
        kernel: programs.kernel,
        publisher: Arc::clone(&publisher),
        places: net.reader(),
        cluster: Arc::clone(&cluster),
        reasons: DropReasons::new(|name| names.reason(name)),
        names,
        node: node.clone(),
        limits: config.flow,
        floods: FloodLimits { floor: config.flood_floor, ..FloodLimits::default() },
        shared: Arc::clone(&shared),
        privileges,
    })?;
    // Nothing is loaded any more, nor is any list of the kernel's read. What this thread still does, workers do as well.
    privileges.keep_for(Duty::Worker);
    programs.logger.map(|logger| tokio::spawn(programs::follow_log(logger, shutdown.clone())));

    let api = Api::new(
        ApiParts {
            publisher,
            readiness: Arc::clone(&readiness),
            source: shared,
            registry: Registry::default(),
            shutdown: shutdown.clone(),
        },
        ApiLimits::default(),
    );
    let server = http::serve(listeners, &api, ServeLimits { drain: config.drain, ..ServeLimits::default() });
    announce(&server, &node);
    let scrape = scrape.map(|bound| bound.serve(&api, config.drain)).transpose()?;

    let settled = attacher.settled();
    tokio::spawn(async move {
        if settled.await {
            programs_ready.ready();
        }
    });
    tokio::spawn(watch_metadata(Arc::clone(&cluster), metadata_ready, shutdown.clone()));

    let failure = tokio::select! {
        () = signals.next() => None,
        () = pipeline.failed() => Some("the pipeline's thread ended unexpectedly"),
        () = attacher.failed() => Some("the thread that attaches programs ended unexpectedly"),
    };
    kernel.detach();
    let drain =
        Drain { pipeline: failure.is_none().then_some(pipeline), server, scrape, shutdown, limit: config.drain };
    drain.run(&mut signals).await;
    attacher.stop().await;
    match failure {
        Some(what) => bail!("{what}; its last words are in the log"),
        None => Ok(()),
    }
}

/// The end of the pipeline, with an empty history.
fn publisher(node: &str, ledger: &Arc<Ledger>) -> Result<Arc<Publisher>> {
    let origin = Origin::of_this_start(node).context("no origin for event ids")?;
    let store = Arc::new(Store::new(HistoryLimits::default()));
    Ok(Arc::new(Publisher::new(origin, store, Arc::clone(ledger))))
}

/// Refuses to run without what the daemon is useless without, and warns of the rest.
fn may_run(config: &Config) -> Result<Preflight> {
    let preflight = Preflight::run(config.btf.is_some());
    for missing in &preflight.missing {
        if missing.fatal {
            bail!("{}", missing.sentence);
        }
        tracing::warn!("{}", missing.sentence);
    }
    Ok(preflight)
}

/// The end. Intake stops first: drops are no longer seen, the rings run dry, and what was counted is told; then clients are
/// let go. tcx programs are detached by the kernel when the process ends: one by one that would take longer than the rest.
/// clsact filters are removed by the attacher as soon as clients are let go.
struct Drain {
    pipeline: Option<pipeline::Pipeline>,
    server: http::ServeHandle,
    scrape: Option<tokio::task::JoinHandle<()>>,
    shutdown: CancellationToken,
    limit: Duration,
}

impl Drain {
    /// One deadline for all of it; a second signal cuts it short.
    async fn run(self, signals: &mut Signals) {
        tracing::info!("draining");
        let deadline = tokio::time::Instant::now() + self.limit + Duration::from_millis(250);
        let drained = async {
            if let Some(pipeline) = self.pipeline {
                pipeline.finish().await;
            }
            self.shutdown.cancel();
            let cut = self.server.drained().await;
            if let Some(scrape) = self.scrape {
                // An error is a panic, which was logged.
                let _ = scrape.await;
            }
            cut
        };
        tokio::select! {
            cut = drained => if cut > 0 {
                tracing::warn!(connections = cut, "cut at the deadline");
            },
            () = tokio::time::sleep_until(deadline) => tracing::warn!("the deadline came before everything had ended"),
            () = signals.next() => {}
        }
    }
}

fn announce(server: &http::ServeHandle, node: &str) {
    if let Some(address) = server.tcp {
        tracing::info!(node, "listening on http://{address}");
    }
    if let Some(path) = &server.unix {
        tracing::info!(node, "listening on unix:{}", path.display());
    }
}

/// Keeps the metadata latch true to the feeds.
async fn watch_metadata(cluster: Arc<cluster::ClusterHandle>, latch: http::Latch, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let reasons = cluster.not_ready();
        if reasons.is_empty() {
            // Once listed, a feed that goes stale is a matter for the status, not for readiness.
            latch.ready();
            return;
        }
        latch.not_ready(reasons.join("; "));
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends at the next of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
