//! The arm of tcpdump: captures the flood at the sender's interface and throws it away.

use std::time::Duration;

use anyhow::Result;

use super::arm::{Counted, Observer};
use super::load::Target;
use super::tool::{Tool, sum_before};

/// The running tcpdump.
pub struct Tcpdump(Tool);

impl Tcpdump {
    /// Starts it.
    pub fn start(target: &Target) -> Result<Self> {
        let (interface, expression) = (target.scene.sender.host_interface(), target.expression());
        let arguments = ["-i", interface, "-nn", "-w", "/dev/null", &expression];
        Tool::start(&target.scene, "tcpdump", &arguments).map(Self)
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
