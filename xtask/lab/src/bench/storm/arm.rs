//! The arms: who watches, and what each has to be able to do.

use std::ops::AddAssign;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::load::Target;
use super::{bpftrace, capture, netobs, perf};
use crate::missing;

/// Who watches the flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Nobody.
    Nobody,
    /// Nobody, again: the noise.
    NobodyAgain,
    /// netobs as it is configured by default: a burst is told by its first events and an exact sum.
    Netobs,
    /// netobs with an event for every drop, as far as they can be told; for drops only.
    NetobsWhole,
    /// bpftrace printing the same fields for every packet.
    Bpftrace,
    /// `perf trace` of the same tracepoint; for drops only.
    PerfTrace,
    /// tcpdump on the sender's interface: it sees packets, not what becomes of them.
    Tcpdump,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Nobody,
        Self::Netobs,
        Self::NetobsWhole,
        Self::Bpftrace,
        Self::PerfTrace,
        Self::Tcpdump,
        Self::NobodyAgain,
    ];

    /// As the table shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::NobodyAgain => "nobody again (A/A)",
            Self::Netobs => "netobs",
            Self::NetobsWhole => "netobs --drop-burst 1000000",
            Self::Bpftrace => "bpftrace printf",
            Self::PerfTrace => "perf trace",
            Self::Tcpdump => "tcpdump -w /dev/null",
        }
    }

    /// Why it cannot be measured here.
    pub fn unavailable(self) -> Option<String> {
        match self {
            Self::Bpftrace => missing(&[("bpftrace", "bpftrace")]),
            Self::PerfTrace => missing(&[("perf", "linux-perf")]),
            Self::Tcpdump => missing(&[("tcpdump", "tcpdump")]),
            _ => None,
        }
    }

    /// Starts the observer.
    pub fn start(self, netobs: &Path, target: &Target) -> Result<Box<dyn Observer>> {
        Ok(match self {
            Self::Nobody | Self::NobodyAgain => Box::new(Nobody),
            Self::Netobs => Box::new(netobs::Netobs::start(netobs, target, None)?),
            Self::NetobsWhole => Box::new(netobs::Netobs::start(netobs, target, Some(1_000_000))?),
            Self::Bpftrace => Box::new(bpftrace::Bpftrace::start(target)?),
            Self::PerfTrace => Box::new(perf::PerfTrace::start(&target.scene)?),
            Self::Tcpdump => Box::new(capture::Tcpdump::start(target)?),
        })
    }
}

/// What became of packets, by an observer's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Told one by one, counted where they arrive.
    pub delivered: u64,
    /// Told in sums.
    pub summed: u64,
    /// Said to be lost.
    pub lost: u64,
}

impl Counted {
    /// Told in one way or the other.
    pub const fn reported(self) -> u64 {
        self.delivered + self.summed
    }
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.summed += other.summed;
        self.lost += other.lost;
    }
}

/// A running observer.
pub trait Observer {
    /// Returns once it tells of packets; `probe` sends one.
    fn wait_attached(&mut self, probe: &mut dyn FnMut() -> Result<()>) -> Result<()>;
    /// CPU time so far.
    fn cpu(&self) -> Result<Duration>;
    /// Waits until it has told all it will tell; ends it. Returns what it told since its start, and its CPU time.
    fn finish(self: Box<Self>) -> Result<(Counted, Duration)>;
}

struct Nobody;

impl Observer for Nobody {
    fn wait_attached(&mut self, _probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn cpu(&self) -> Result<Duration> {
        Ok(Duration::ZERO)
    }

    fn finish(self: Box<Self>) -> Result<(Counted, Duration)> {
        Ok((Counted::default(), Duration::ZERO))
    }
}
