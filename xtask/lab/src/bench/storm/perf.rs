//! The arm of `perf trace`: the tracepoint's own arguments (addresses in the kernel, protocol, reason), no packet's.

use std::time::Duration;

use anyhow::Result;

use super::arm::{Counted, Observer};
use super::tool::{Tool, sum_before};
use crate::bench::scene::Scene;

/// The tracepoint as perf prints it.
const EVENT: &str = "skb:kfree_skb";
/// `ETH_P_IP`, as perf prints it.
const IPV4: &str = "protocol: 2048";

/// The running perf.
pub struct PerfTrace(Tool);

impl PerfTrace {
    /// Starts it for the whole machine, as netobs and bpftrace are.
    pub fn start(scene: &Scene) -> Result<Self> {
        Tool::start(scene, "perf", &["trace", "-a", "--event", EVENT]).map(Self)
    }
}

impl Observer for PerfTrace {
    fn wait_attached(&mut self, probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.0.wait_for(EVENT, probe)
    }

    fn cpu(&self) -> Result<Duration> {
        self.0.cpu()
    }

    fn finish(self: Box<Self>) -> Result<(Counted, Duration)> {
        let (output, cpu) = self.0.finish()?;
        let delivered = output.lines().filter(|line| line.contains(EVENT) && line.contains(IPV4)).count() as u64;
        Ok((Counted { delivered, summed: 0, lost: sum_before(&output, "LOST", "events") }, cpu))
    }
}
