//! Readiness as latches: each part of the daemon holds one, and the node is ready when all are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the daemon waits for.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why each latch is not ready; `None`: it is.
    latches: BTreeMap<&'static str, Option<String>>,
    /// When all were ready for the first time.
    first_ready: Option<Instant>,
}

/// One part's say.
#[derive(Clone, Debug)]
pub struct Latch {
    name: &'static str,
    readiness: Arc<Readiness>,
}

/// Whether the daemon is ready, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// Nothing is waited for.
    pub ready: bool,
    /// What is waited for.
    pub waiting: Vec<Waiting>,
}

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Name of the part.
    pub name: String,
    /// What is missing, in a sentence.
    pub reason: String,
}

impl Readiness {
    /// No latches yet: ready at once, so take them before serving.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), state: Mutex::default() })
    }

    /// Adds a latch that is not ready, for this reason.
    pub fn latch(self: &Arc<Self>, name: &'static str, reason: &str) -> Latch {
        self.lock().latches.insert(name, Some(reason.to_owned()));
        Latch { name, readiness: Arc::clone(self) }
    }

    /// What is waited for.
    pub fn view(&self) -> ReadyView {
        let waiting: Vec<_> = self
            .lock()
            .latches
            .iter()
            .filter_map(|(name, reason)| Some(Waiting { name: (*name).to_owned(), reason: reason.clone()? }))
            .collect();
        ReadyView { ready: waiting.is_empty(), waiting }
    }

    /// Since the daemon's start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// From the daemon's start until it was ready for the first time.
    pub fn time_to_ready(&self) -> Option<Duration> {
        Some(self.lock().first_ready?.duration_since(self.started))
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        let mut state = self.lock();
        state.latches.insert(name, reason);
        if state.first_ready.is_none() && state.latches.values().all(Option::is_none) {
            state.first_ready = Some(Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch {
    /// This part is ready.
    pub fn ready(&self) {
        self.readiness.set(self.name, None);
    }

    /// This part is not ready (any more).
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_latches_have_to_be_ready() {
        let readiness = Readiness::new();
        let programs = readiness.latch("programs", "not attached yet");
        let metadata = readiness.latch("metadata", "first list not complete");
        programs.ready();
        assert_eq!(
            readiness.view().waiting,
            [Waiting { name: "metadata".into(), reason: "first list not complete".into() }]
        );
        assert_eq!(readiness.time_to_ready(), None);
        metadata.ready();
        assert!(readiness.view().ready);
        let first = readiness.time_to_ready();
        assert!(first.is_some());
        metadata.not_ready("the API server is away");
        assert!(!readiness.view().ready);
        metadata.ready();
        assert_eq!(readiness.time_to_ready(), first);
    }
}
