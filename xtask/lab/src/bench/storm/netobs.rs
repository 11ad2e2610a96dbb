//! The arm of netobs: the daemon with one client on its stream.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::arm::{Counted, Observer};
use super::load::Target;
use crate::bench::clocks::process_cpu;
use crate::{Daemon, Lines};

/// How long the daemon may take to tell the last of a flood.
const DRAIN: Duration = Duration::from_secs(20);

/// The daemon and its client.
pub struct Netobs {
    /// Kind of the events, which is the family's name in the ledger.
    kind: &'static str,
    daemon: Daemon,
    client: Reader,
}

/// A client that counts what it is told.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

/// What a client was told.
#[derive(Debug, Default)]
struct Tally {
    /// By this text a line is about the storm.
    mark: String,
    counted: Counted,
    /// Sequence numbers make a gap visible; the daemon tells it as well.
    lagged: u64,
}

impl Netobs {
    /// Starts both.
    pub fn start(netobs: &Path, target: &Target, burst: Option<u64>) -> Result<Self> {
        let (scene, kind) = (&target.scene, target.load.kind());
        let mut builder = Daemon::builder(netobs).metadata_file(scene.node.write_metadata()?);
        if let Some(burst) = burst {
            builder = builder.arg("--drop-burst").arg(burst.to_string());
        }
        let daemon = builder.start(&scene.node)?;
        let lines = daemon.client().stream(&format!("/v1/events/stream?kind={kind}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (stop, mark) = (Arc::clone(&stop), target.mark());
            move || read(&lines, &stop, mark)
        });
        Ok(Self { kind, daemon, client: Reader { stop, thread } })
    }

    /// The family's lines of the loss ledger.
    fn ledger(&self) -> Result<Ledger> {
        let status = self.daemon.client().get_json("/v1/status")?;
        let families = status["ledger"]["families"].as_array().context("no ledger in the status")?;
        let family =
            families.iter().find(|family| family["family"] == self.kind).context("no such family in the ledger")?;
        let number = |side: &str, line: &str| {
            family[side][line].as_u64().with_context(|| format!("no {side} line {line} in the ledger"))
        };
        Ok(Ledger {
            submitted: number("kernel", "submitted")?,
            coalesced: number("kernel", "coalesced")?,
            unkeyed: number("kernel", "coalesced_unkeyed")?,
            ring_full: number("kernel", "ring_full")?,
            published: number("daemon", "published")? + number("daemon", "folded")?,
            summarised: number("daemon", "summarised_packets")?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ledger {
    submitted: u64,
    coalesced: u64,
    unkeyed: u64,
    ring_full: u64,
    published: u64,
    summarised: u64,
}

impl Ledger {
    /// Nothing is on its way any more.
    const fn told(self) -> bool {
        self.published == self.submitted && self.summarised + self.unkeyed == self.coalesced
    }
}

impl Observer for Netobs {
    fn wait_attached(&mut self, _probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        // It said that it is ready.
        Ok(())
    }

    fn cpu(&self) -> Result<Duration> {
        process_cpu(self.daemon.pid())
    }

    fn finish(mut self: Box<Self>) -> Result<(Counted, Duration)> {
        let end = Instant::now() + DRAIN;
        let mut before = None;
        // Sums are told every second, so it makes no sense to ask more often than a few times.
        let ledger = loop {
            std::thread::sleep(Duration::from_millis(300));
            let ledger = self.ledger()?;
            if ledger.told() && before == Some(ledger) {
                break ledger;
            }
            ensure!(Instant::now() < end, "the daemon has not told all it knows within {DRAIN:?}: {ledger:?}");
            before = Some(ledger);
        };
        let cpu = self.cpu()?;
        self.client.stop.store(true, Ordering::Release);
        let Ok(tally) = self.client.thread.join() else { bail!("the client panicked") };
        self.daemon.terminate(Duration::from_secs(10))?;
        let lost = ledger.ring_full + ledger.unkeyed + tally.lagged;
        Ok((Counted { lost, ..tally.counted }, cpu))
    }
}

/// Counts lines until it is to stop and there is none for a moment.
fn read(lines: &Lines, stop: &AtomicBool, mark: String) -> Tally {
    let mut tally = Tally { mark, ..Tally::default() };
    loop {
        match lines.next(Duration::from_millis(100)) {
            Some(line) => tally.line(&line.text),
            None if stop.load(Ordering::Acquire) => return tally,
            None => {}
        }
    }
}

impl Tally {
    /// Looks for what it needs instead of parsing, to leave the machine to those who are measured.
    fn line(&mut self, line: &str) {
        if let Some(missed) = number_after(line, "\"missed\":").filter(|_| line.starts_with("{\"control\"")) {
            self.lagged += missed;
        } else if line.contains(&self.mark) {
            let count = number_after(line, "\"count\":").unwrap_or(0);
            if line.contains("\"coalesced\":true") {
                self.counted.summed += count;
            } else {
                self.counted.delivered += count;
            }
        }
    }
}

/// The whole number that follows the first occurrence of a key.
fn number_after(line: &str, key: &str) -> Option<u64> {
    let rest = &line[line.find(key)? + key.len()..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_what_they_say() {
        let mut tally = Tally { mark: "\"destination_port\":20000".to_owned(), ..Tally::default() };
        tally.line(r#"{"id":"a","count":1,"flow":{"destination_port":20000}}"#);
        tally.line(r#"{"id":"b","count":40,"coalesced":true,"flow":{"destination_port":20000}}"#);
        tally.line(r#"{"id":"c","count":1,"flow":{"destination_port":20001}}"#);
        tally.line(r#"{"control":"lagged","missed":7}"#);
        tally.line(r#"{"control":"heartbeat","position":"x"}"#);
        assert_eq!((tally.counted, tally.lagged), (Counted { delivered: 1, summed: 40, lost: 0 }, 7));
    }
}
