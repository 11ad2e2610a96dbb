//! The arm of tcpdump: captures the flood at the sender's interface and throws it away.

use std::time::Duration;

use anyhow::Result;

use super::PORT;
use super::arm::{Counted, Observer};
use super::tool::{Tool, sum_before};
use crate::bench::scene::Scene;

/// The running tcpdump.
pub struct Tcpdump(Tool);

impl Tcpdump {
    /// Starts it.
    pub fn start(scene: &Scene) -> Result<Self> {
        let (interface, port) = (scene.sender.host_interface(), PORT.to_string());
        let arguments = ["-i", interface, "-nn", "-w", "/dev/null", "udp", "and", "dst", "port", &port];
        Tool::start(scene, "tcpdump", &arguments).map(Self)
    }
}

impl Observer for Tcpdump {
    fn wait_attached(&mut self, _probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.0.wait_for("listening on", &mut || Ok(()))
    }

    fn cpu(&self) -> Result<Duration> {
        self.0.cpu()
    }

    fn finish(self: Box<Self>) -> Result<(Counted, Duration)> {
        let (output, cpu) = self.0.finish()?;
        let delivered = sum_before(&output, "packets captured", "packets");
        Ok((Counted { delivered, summed: 0, lost: sum_before(&output, "dropped by kernel", "packets") }, cpu))
    }
}
