//! The product's own view: `netobs observe` as a child, its lines shown as they come.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, Result};

use super::screen;

/// Lines that wait to be shown; the child waits while there are so many.
const WAITING: usize = 1024;
/// Continued lines begin below the kind of the event: after the time of day and a blank.
const HANG: usize = 13;

/// How `netobs observe` writes the kind of a flood.
const FLOOD: &str = "FLOOD";

/// A running `netobs observe`; killed on drop.
#[derive(Debug)]
pub struct Tail {
    child: Child,
    lines: Receiver<String>,
    shown: usize,
    /// How many lines may still be shown; `None`: all.
    left: Option<usize>,
    hidden: usize,
}

impl Tail {
    /// Starts it. It shows the problems that have been, too: none is missed because it took a moment to connect.
    pub fn start(netobs: &Path, socket: &Path) -> Result<Self> {
        let mut command = Command::new(netobs);
        let server = format!("unix:{}", socket.display());
        command.args(["observe", "--last", "1000", "--server", &server]).stdin(Stdio::null()).stdout(Stdio::piped());
        // It writes into a pipe, so that lines come in order and are indented; whether there is colour is decided here.
        if anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never {
            command.env("CLICOLOR_FORCE", "1");
        }
        let mut child = command.spawn().with_context(|| format!("starting {}", netobs.display()))?;
        let output = child.stdout.take().context("the pipe of netobs observe")?;
        let (sender, lines) = sync_channel(WAITING);
        std::thread::Builder::new().name("demo-tail".into()).spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { child, lines, shown: 0, left: None, hidden: 0 })
    }

    /// From now on shows no more than so many lines, but always those of floods.
    pub const fn limit(&mut self, lines: Option<usize>) {
        self.left = lines;
        self.hidden = 0;
    }

    /// How many lines were not shown since the last limit, if any.
    pub fn hidden(&self) -> Option<usize> {
        Some(self.hidden).filter(|hidden| *hidden > 0)
    }

    /// Shows what has come.
    pub fn show(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.shown += 1;
            if !line.contains(FLOOD) {
                if self.left == Some(0) {
                    self.hidden += 1;
                    continue;
                }
                self.left = self.left.map(|left| left - 1);
            }
            screen::line(&line, screen::INDENT, HANG);
        }
    }

    /// How many lines it has shown, or left out.
    pub const fn shown(&self) -> usize {
        self.shown
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
