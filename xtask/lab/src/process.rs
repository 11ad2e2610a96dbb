//! Processes of the lab: one that runs until it is dropped, one that has finished.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::slow::patience;

/// A running process; killed (SIGKILL) and reaped on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { child, name })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process's end of its pipes, where the command asked for pipes.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Exit status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("waiting for {}", self.name))
    }

    /// Sends a signal. Not an error if it has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // The child is reaped only by us, so as long as try_wait says it runs the pid is its own.
        if self.ended()?.is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))?;
        }
        Ok(())
    }

    /// Waits for the end.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + patience(deadline);
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("{} (pid {}) has not ended within {deadline:?}", self.name, self.pid());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// Whether it was killed because its deadline had passed.
    pub timed_out: bool,
}

impl Finished {
    /// Whether it ended by itself with exit status 0.
    pub fn success(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// Runs a command to its end; kills it at the deadline.
    pub(crate) fn run(command: &mut Command, input: Option<&str>, deadline: Duration) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {name} (is it installed?)"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("pid of a child")?;
        // A pidfd cannot come to mean another process.
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        let input = input.map(str::to_owned);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // A program that ends before it has read all its input is no error of ours: its status tells.
            let stdin = child.stdin.take();
            let writer = std::thread::spawn(move || {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    let _ = stdin.write_all(input.as_bytes());
                }
            });
            let _ = sender.send(child.wait_with_output());
            let _ = writer.join();
        });
        let (output, timed_out) = if let Ok(output) = receiver.recv_timeout(patience(deadline)) {
            (output, false)
        } else {
            let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            // A grandchild may hold the pipes open for longer: do not wait for it without end.
            let output = receiver.recv_timeout(Duration::from_secs(1)).unwrap_or_else(|_| {
                Ok(std::process::Output {
                    status: ExitStatus::from_raw(Signal::KILL.as_raw()),
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                })
            });
            (output, true)
        };
        let output = output.with_context(|| format!("running {name}"))?;
        Ok(Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            timed_out,
        })
    }
}
