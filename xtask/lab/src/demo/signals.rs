//! Ctrl-C and its relatives: seen as a flag between steps, so that whatever was set up is cleaned up by its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a program that was interrupted: 128 and the number of SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Whether to end.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

/// The person has asked for the end; not an error to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Stop {
    /// Takes over SIGINT, SIGTERM and SIGHUP (a closed terminal). The second of them ends the process at once; the next
    /// lab then cleans up.
    pub fn install() -> Result<Self> {
        let stop = Self(Arc::default());
        let flag = Arc::clone(&stop.0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _inside = runtime.enter();
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>().context("handling signals")?
        };
        std::thread::Builder::new().name("demo-signals".into()).spawn(move || {
            runtime.block_on(any(&mut signals));
            flag.store(true, Ordering::Release);
            runtime.block_on(any(&mut signals));
            std::process::exit(i32::from(INTERRUPTED));
        })?;
        Ok(stop)
    }

    /// Whether to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// An error once it is time to end, to leave whatever is under way by.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_set() { Err(Interrupted) } else { Ok(()) }
    }
}

/// The first of them to arrive.
async fn any(signals: &mut [Signal]) {
    let waits = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures::future::select_all(waits).await;
}
