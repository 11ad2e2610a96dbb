//! A place to run things in: a network namespace and a cgroup. Pods, the node and the "internet" each are one.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cgroup::{self, Cgroup};
use crate::netns::{self, Netns};
use crate::process::{Finished, Process};

/// How long a tool may take unless said otherwise.
pub const TOOL_DEADLINE: Duration = Duration::from_secs(20);

/// A network namespace and a cgroup; whatever is started here is in both.
#[derive(Debug)]
pub struct Place {
    // Fields drop in this order: the processes first, then the namespace they were in.
    cgroup: Cgroup,
    netns: Netns,
}

impl Place {
    pub(crate) const fn new(netns: Netns, cgroup: Cgroup) -> Self {
        Self { cgroup, netns }
    }

    /// The network namespace.
    pub const fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The cgroup.
    pub const fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Runs a closure in a thread inside the network namespace. The thread stays in the caller's own cgroup: sockets
    /// that must carry this place's cgroup come from [`Place::socket`] and its relatives.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.netns.run(work)
    }

    /// A command that will start inside the namespace and the cgroup.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.place(&mut command);
        command
    }

    /// Makes a command start inside the namespace and the cgroup.
    fn place(&self, command: &mut Command) {
        let (namespace, processes) = (self.netns.file(), self.cgroup.processes());
        // SAFETY: between fork and exec only async-signal-safe things may be done: both functions make one system
        // call each and allocate nothing. The closure owns its file descriptors.
        unsafe {
            command.pre_exec(move || {
                netns::enter(namespace.as_fd())?;
                cgroup::join(processes.as_fd())?;
                Ok(())
            });
        }
    }

    /// Starts a long-running process here; it is killed when the result is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Process> {
        Process::start(command)
    }

    /// Runs a program to its end and returns what it printed, whatever its exit status.
    pub fn exec(&self, command: &[&str]) -> Result<Finished> {
        self.exec_within(command, TOOL_DEADLINE)
    }

    /// [`Place::exec`] with a deadline of its own.
    pub fn exec_within(&self, command: &[&str], deadline: Duration) -> Result<Finished> {
        let (program, arguments) = command.split_first().context("an empty command")?;
        Finished::run(self.command(program).args(arguments).stdin(Stdio::null()), None, deadline)
    }

    /// Runs a program with this text as its input; a failing exit status is an error with what it printed.
    pub fn feed(&self, command: &[&str], input: &str) -> Result<Finished> {
        let (program, arguments) = command.split_first().context("an empty command")?;
        let done = Finished::run(self.command(program).args(arguments), Some(input), TOOL_DEADLINE)?;
        if !done.success() {
            bail!("{}: {}\ninput:\n{input}", command.join(" "), done.stderr.trim());
        }
        Ok(done)
    }

    /// Runs a program; a failing exit status is an error with what it printed.
    pub fn must(&self, command: &[&str]) -> Result<Finished> {
        let done = self.exec(command)?;
        if !done.success() {
            bail!("{}: {}{}", command.join(" "), done.stdout, done.stderr.trim());
        }
        Ok(done)
    }

    /// Whether an address answers one ICMP echo request within a second.
    pub fn ping(&self, address: impl Into<IpAddr>) -> Result<bool> {
        Ok(self.exec(&["ping", "-n", "-c1", "-W1", &address.into().to_string()])?.success())
    }

    /// Runs `ip` over a batch of its commands, one a line.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.feed(&["ip", "-batch", "-"], batch).map(drop)
    }
}
