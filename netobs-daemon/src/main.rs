//! The `netobs` command: the daemon, and the clients of its API.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use netobs_daemon::config::{Config, RunArgs};
use netobs_daemon::kernel::privileges::Duty;
use netobs_daemon::{app, client};
use tracing_subscriber::EnvFilter;

/// Which packet failed on this node, whose it was and what failed it.
#[derive(Parser)]
#[command(name = "netobs", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon on this node.
    Run(Box<RunArgs>),
    /// Tail the events of the daemon on this node.
    Observe(Box<client::ObserveArgs>),
    /// Show what the daemon on this node sees, and what it does not see and why.
    Status(client::StatusArgs),
    /// Show what this kernel lets the daemon do, what is lost where it does not, and why.
    Check(Box<client::CheckArgs>),
}

fn main() -> ExitCode {
    give_memory_back();
    let result = match Cli::parse().command {
        Command::Run(args) => daemon(*args),
        Command::Observe(args) => block_on(client::observe(&args), || ()),
        Command::Status(args) => block_on(client::status(&args), || ()),
        Command::Check(args) => return check(*args).unwrap_or_else(|error| fail(&error)),
    };
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn daemon(args: RunArgs) -> Result<()> {
    init_log(args.log_filter());
    let config = Config::try_from(args)?;
    let privileges = app::privileges(&config);
    block_on(app::run(config, privileges), move || privileges.keep_for(Duty::Worker))
}

fn check(args: client::CheckArgs) -> Result<ExitCode> {
    let checked = app::check(&Config::try_from(args.run)?);
    client::check::show(&checked, args.output)
}

/// Runs to the end. `on_thread` is called in each thread of the runtime but this one.
fn block_on(work: impl Future<Output = Result<()>>, on_thread: impl Fn() + Send + Sync + 'static) -> Result<()> {
    // Little runs at once: the pipeline has a thread of its own.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).on_thread_start(on_thread).enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Keeps large buffers out of the heap, so that they go back to the kernel when they are freed. glibc's allocator raises
/// this threshold by itself after the first of them (the kernel's BTF, a first list of pods), and what comes then stays
/// resident: twice the memory, measured.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a parameter of the allocator; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// One readable sentence.
fn fail(error: &anyhow::Error) -> ExitCode {
    anstream::eprintln!("netobs: {error:#}");
    ExitCode::FAILURE
}

fn init_log(default: &str) {
    let filter = EnvFilter::try_from_env("NETOBS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(colour).with_target(false).init();
}
