//! The daemon under test: its binary, started inside the node, spoken to over its unix socket.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::http::Client;
use crate::node::Node;
use crate::process::Process;
use crate::refusal::refuse_links;
use crate::slow::patience;

/// Lines of the log that an error shows.
const LOG_TAIL: usize = 30;

/// How to start the daemon.
#[derive(Clone, Debug)]
pub struct DaemonBuilder {
    binary: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    listen: String,
    ready_within: Duration,
    refused_links: Option<i32>,
}

impl DaemonBuilder {
    /// Names from the API server that this kubeconfig leads to.
    #[must_use]
    pub fn kubeconfig(self, path: impl AsRef<Path>) -> Self {
        self.arg("--kubeconfig").arg(path.as_ref())
    }

    /// Names from a file, see [`Node::write_metadata`].
    #[must_use]
    pub fn metadata_file(self, path: impl AsRef<Path>) -> Self {
        self.arg("--metadata-file").arg(path.as_ref())
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where it listens inside the node; 127.0.0.1:7117 unless said otherwise.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// How long it may take to be ready; 20 s unless said otherwise.
    #[must_use]
    pub const fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    /// On a kernel that refuses BPF links with this error number: `EINVAL` is what one says that does not know them.
    #[must_use]
    pub const fn refuse_links(mut self, error: i32) -> Self {
        self.refused_links = Some(error);
        self
    }

    /// Starts it and waits until `/readyz` says 200.
    pub fn start(self, node: &Node) -> Result<Daemon> {
        let within = self.ready_within;
        let mut daemon = self.launch(node)?;
        daemon.wait_ready(within)?;
        Ok(daemon)
    }

    /// Starts it and does not wait.
    pub fn launch(self, node: &Node) -> Result<Daemon> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("netobs-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = node.directory().join(format!("{name}.sock"));
        let log = node.directory().join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = node.command(&self.binary);
        command
            .arg("run")
            .args(["--listen", &self.listen, "--node-name", node.name(), "--unix-socket"])
            .arg(&socket)
            .args(&self.arguments)
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        if let Some(error) = self.refused_links {
            refuse_links(&mut command, error);
        }
        let started = Instant::now();
        let process = node.spawn(&mut command)?;
        Ok(Daemon { process, client: Client::unix(&socket), socket, log, started, ready_after: None })
    }
}

/// A running daemon; killed on drop.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    client: Client,
    socket: PathBuf,
    log: PathBuf,
    started: Instant,
    ready_after: Option<Duration>,
}

impl Daemon {
    /// Starts to describe how to start this binary.
    pub fn builder(binary: impl Into<PathBuf>) -> DaemonBuilder {
        DaemonBuilder {
            binary: binary.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            listen: "127.0.0.1:7117".into(),
            ready_within: Duration::from_secs(20),
            refused_links: None,
        }
    }

    /// Waits until `/readyz` says 200. If it does not, or the daemon ends, the error shows why and the log's end.
    pub fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let end = Instant::now() + patience(within);
        loop {
            let last = match self.client.get("/readyz") {
                Ok(answer) if answer.status.is_success() => {
                    self.ready_after.get_or_insert_with(|| self.started.elapsed());
                    return Ok(());
                }
                Ok(answer) => format!("/readyz: {} {}", answer.status, answer.text()),
                Err(error) => format!("{error:#}"),
            };
            if let Some(status) = self.process.ended()? {
                bail!("the daemon ended ({status}) before it was ready; its log ends:\n{}", self.log_tail());
            }
            if Instant::now() >= end {
                bail!("the daemon is not ready after {within:?}: {last}\nits log ends:\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A client for its unix socket.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Its unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// From its start to the first 200 of `/readyz` (seen by polling every 10 ms); none before.
    pub const fn ready_after(&self) -> Option<Duration> {
        self.ready_after
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// Sends SIGTERM and waits for its end.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(within).with_context(|| format!("its log ends:\n{}", self.log_tail()))
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(Duration::from_secs(5))
    }

    /// Exit status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }
}

impl Node {
    /// Writes the node's objects to a file for `--metadata-file` (see [`kubectl_list`](crate::kubectl_list)) and
    /// returns its path. Call it again after changes: it replaces the file at once.
    pub fn write_metadata(&self) -> Result<PathBuf> {
        let path = self.directory().join("metadata.json");
        let next = self.directory().join("metadata.json.next");
        std::fs::write(&next, serde_json::to_vec(&crate::objects::kubectl_list(self))?)?;
        std::fs::rename(&next, &path)?;
        Ok(path)
    }
}
