//! A tool of the distribution that writes what it sees into a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::bench::clocks::process_cpu;
use crate::bench::scene::Scene;
use crate::process::Process;

/// How long a tool may take to attach, or to write the last of what it has seen.
const DEADLINE: Duration = Duration::from_secs(30);
/// A file that has not grown for this long is complete.
const QUIET: Duration = Duration::from_millis(400);

/// The running tool.
pub struct Tool {
    process: Process,
    output: PathBuf,
    name: &'static str,
}

impl Tool {
    /// Starts it inside the node with both outputs in one file.
    pub fn start(scene: &Scene, name: &'static str, arguments: &[&str]) -> Result<Self> {
        let output = scene.node.directory().join(format!("{name}.out"));
        let file = File::create(&output).with_context(|| format!("creating {}", output.display()))?;
        let mut command = scene.node.command(name);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { process: scene.node.spawn(&mut command)?, output, name })
    }

    /// Waits until its output has this text, calling `probe` meanwhile.
    pub fn wait_for(&mut self, text: &str, probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let output = self.output()?;
            if output.contains(text) {
                return Ok(());
            }
            if self.process.ended()?.is_some() || Instant::now() > end {
                bail!("{} does not say {text:?}; it said:\n{output}", self.name);
            }
            probe()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Result<Duration> {
        process_cpu(self.process.pid())
    }

    /// Waits until it writes nothing more; ends it with SIGINT. Returns its whole output and its CPU time before the end.
    pub fn finish(mut self) -> Result<(String, Duration)> {
        let end = Instant::now() + DEADLINE;
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let mut before = size(&self.output);
        loop {
            std::thread::sleep(QUIET);
            let now = size(&self.output);
            if now == before || Instant::now() > end {
                break;
            }
            before = now;
        }
        let cpu = self.cpu()?;
        self.process.signal(Signal::INT)?;
        self.process.wait(DEADLINE)?;
        Ok((self.output()?, cpu))
    }

    fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.output).with_context(|| format!("reading {}", self.output.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Sum of the numbers that directly precede a word, over all lines that have the first text.
pub fn sum_before(output: &str, line_has: &str, word: &str) -> u64 {
    let number = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.windows(2).find(|pair| pair[1].starts_with(word)).and_then(|pair| pair[0].parse::<u64>().ok())
    };
    output.lines().filter(|line| line.contains(line_has)).filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::sum_before;

    #[test]
    fn losses_are_summed() {
        let output = "Lost 12 events\nnothing\nLost 30 events\n7 packets captured\n";
        assert_eq!(sum_before(output, "Lost", "events"), 42);
        assert_eq!(sum_before(output, "captured", "packets"), 7);
    }
}
