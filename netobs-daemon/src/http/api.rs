//! What the handlers see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::http::metrics::ApiCollector;
use crate::http::readiness::Readiness;
use crate::http::scrape::ScrapeStats;
use crate::http::status::{StatusSource, StreamStatus};
use crate::pipeline::Publisher;

/// State of the API.
pub struct Api {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) source: Arc<dyn StatusSource>,
    pub(crate) streams: Arc<StreamSlots>,
    pub(crate) scrape: Arc<ScrapeStats>,
    pub(crate) registry: Registry,
    pub(crate) heartbeat: Duration,
    pub(crate) shutdown: CancellationToken,
}

/// What an [`Api`] is made of.
pub struct ApiParts {
    /// Where events come from.
    pub publisher: Arc<Publisher>,
    /// What the daemon waits for.
    pub readiness: Arc<Readiness>,
    /// The rest of the daemon.
    pub source: Arc<dyn StatusSource>,
    /// Metrics of other parts; those of the API and the pipeline are added.
    pub registry: Registry,
    /// Ends streams and connections.
    pub shutdown: CancellationToken,
}

/// Bounds of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiLimits {
    /// Clients of the event stream at a time.
    pub stream_clients: usize,
    /// Silence after which a stream sends a heartbeat.
    pub heartbeat: Duration,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self { stream_clients: 64, heartbeat: Duration::from_secs(15) }
    }
}

impl Api {
    /// Puts the parts together.
    pub fn new(parts: ApiParts, limits: ApiLimits) -> Arc<Self> {
        let ApiParts { publisher, readiness, source, mut registry, shutdown } = parts;
        let streams = Arc::new(StreamSlots::new(limits.stream_clients));
        let scrape = Arc::new(ScrapeStats::default());
        let collector = ApiCollector {
            publisher: Arc::clone(&publisher),
            source: Arc::clone(&source),
            streams: Arc::clone(&streams),
            readiness: Arc::clone(&readiness),
            scrape: Arc::clone(&scrape),
        };
        registry.register_collector(Box::new(collector));
        Arc::new(Self {
            publisher,
            readiness,
            source,
            streams,
            scrape,
            registry,
            heartbeat: limits.heartbeat,
            shutdown,
        })
    }

    /// The token that ends streams and connections.
    pub const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// The places for clients of the event stream.
#[derive(Debug)]
pub struct StreamSlots {
    free: Arc<Semaphore>,
    max: usize,
    refused: AtomicU64,
}

impl StreamSlots {
    fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, refused: AtomicU64::new(0) }
    }

    /// Takes a place, or counts a refusal.
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        if permit.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// How many there may be.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// As the status shows it.
    pub fn status(&self, missed: u64) -> StreamStatus {
        StreamStatus {
            clients: self.max.saturating_sub(self.free.available_permits()) as u64,
            max_clients: self.max as u64,
            refused: self.refused.load(Ordering::Relaxed),
            missed,
        }
    }
}
