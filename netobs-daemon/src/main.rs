//! The `netobs` command: the daemon, and the clients of its API.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netobs_daemon::config::{Config, RunArgs};
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
}

fn main() -> ExitCode {
    give_memory_back();
    let cli = Cli::parse();
    // Little runs at once: the pipeline has a thread of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => {
                init_log(args.log_filter());
                app::run(Config::try_from(*args)?).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Observe(args) => client::observe(&args).await.map(|()| ExitCode::SUCCESS),
            Command::Status(args) => client::status(&args).await.map(|()| ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_background();
    result.unwrap_or_else(|error| fail(&error))
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
