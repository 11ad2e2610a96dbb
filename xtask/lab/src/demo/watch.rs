//! Follows the stream as a program would and holds every event against what was expected.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::expect::{Expected, Field, has};
use crate::{Client, Line, Lines};

/// What was expected and what came of it.
#[derive(Debug)]
pub struct Watched {
    /// Number of the fault, from 1.
    pub fault: usize,
    /// What was expected.
    pub expected: Expected,
    /// From the packet (an unanswered question: from the end of the wait) to the line in the stream, for the first
    /// event that was right.
    pub seen: Option<Duration>,
    /// What else was said about the packet: the first few events that were wrong, each with its faults.
    pub wrong: Vec<String>,
}

/// Events that are told of; further ones are only counted.
const TOLD: usize = 5;

/// The stream, and the account of it.
#[derive(Debug)]
pub struct Watch {
    lines: Lines,
    entries: Vec<Watched>,
    allowed: Vec<Vec<Field>>,
    problems: usize,
    strays: Vec<String>,
    stray_count: usize,
}

impl Watch {
    /// Begins with all that the daemon still holds: nothing since its start is missed.
    pub fn start(client: &Client) -> Result<Self> {
        let lines = client.stream("/v1/events/stream?format=ndjson&last=1000")?;
        Ok(Self { lines, entries: Vec::new(), allowed: Vec::new(), problems: 0, strays: Vec::new(), stray_count: 0 })
    }

    /// Expects these events of a fault from now on, and allows further ones with these fields.
    pub fn expect(&mut self, fault: usize, expected: &[Expected], also: &[Vec<Field>]) {
        self.allowed.extend(also.iter().cloned());
        let entries = expected.iter().cloned();
        self.entries.extend(entries.map(|expected| Watched { fault, expected, seen: None, wrong: Vec::new() }));
    }

    /// Takes what has come, waiting for the first line for so long at most. The end of the stream is an error.
    pub fn take(&mut self, within: Duration) -> Result<()> {
        let begin = Instant::now();
        let Some(first) = self.lines.next(within) else {
            ensure!(begin.elapsed() >= within, "the daemon has ended the event stream");
            return Ok(());
        };
        self.line(&first)?;
        while let Some(line) = self.lines.next(Duration::ZERO) {
            self.line(&line)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let event = line.json()?;
        if let Some(control) = event["control"].as_str() {
            ensure!(control == "heartbeat", "the stream says: {}", line.text);
            return Ok(());
        }
        let latency = latency(line.at, &event).with_context(|| format!("the time of {}", line.text))?;
        let problem = event["severity"] == "problem";
        self.problems += usize::from(problem);
        let mut claimed = self.allowed.iter().any(|fields| has(&event, fields));
        for entry in &mut self.entries {
            match entry.expected.judge(&event) {
                Some(wrong) if wrong.is_empty() => {
                    entry.seen.get_or_insert(latency);
                    claimed = true;
                }
                Some(wrong) if entry.wrong.len() < TOLD => entry.wrong.push(wrong.join(", ")),
                _ => {}
            }
        }
        if problem && !claimed {
            self.stray_count += 1;
            if self.strays.len() < TOLD {
                self.strays.push(event["summary"].as_str().unwrap_or(&line.text).to_owned());
            }
        }
        Ok(())
    }

    /// What was expected of a fault.
    pub fn of(&self, fault: usize) -> impl Iterator<Item = &Watched> {
        self.entries.iter().filter(move |entry| entry.fault == fault)
    }

    /// All that was expected.
    pub fn entries(&self) -> &[Watched] {
        &self.entries
    }

    /// Problem events so far.
    pub const fn problems(&self) -> usize {
        self.problems
    }

    /// Problem events that are not what was expected of any fault: how many, and the first few.
    pub fn strays(&self) -> (usize, &[String]) {
        (self.stray_count, &self.strays)
    }
}

/// From an event's own time to the arrival of its line.
fn latency(arrived: Instant, event: &Value) -> Option<Duration> {
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    let arrived = now.checked_sub(arrived.elapsed())?;
    Some(arrived.saturating_sub(Duration::from_nanos(event["boot_ns"].as_u64()?)))
}
