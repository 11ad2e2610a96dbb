//! `memory`: what the daemon takes, by consumer and against a budget; and what it does when there is nothing to do.

mod budget;
mod crowd;
mod idle;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::proc::{self, Memory};
use super::scene::{DROPPED, Scene, flood};
use super::table::{self, mib};
use super::verdict::Verdicts;
use crate::{ApiServer, Daemon, DaemonBuilder};

/// Packets after which the history is full several times over.
const EVENTS: u64 = 100_000;
/// They are sent in portions that the rings hold, so that each becomes an event.
const PORTION: u64 = 2_000;

/// How much.
#[derive(Args, Debug)]
pub struct MemoryArgs {
    /// Pods of the cluster.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pods: u32,
    /// Services of the cluster.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    services: u32,
    /// Seconds for which the idle daemon is watched.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    idle: u64,
}

/// What a daemon takes at one moment.
#[derive(Debug)]
struct State {
    name: String,
    memory: Memory,
    /// BPF maps, bytes by type number.
    maps: std::collections::BTreeMap<u32, u64>,
    /// Pods it says it knows, and what it says its maps take.
    pods: u64,
    map_bytes: Option<u64>,
    events: u64,
}

/// Runs it.
pub fn run(netobs: &Path, args: &MemoryArgs, verdicts: &mut Verdicts) -> Result<()> {
    let scene = Scene::new()?;
    let small = scene.node.write_metadata()?;
    let crowd = crowd::Crowd::new(&scene.node, args.pods, args.services);
    let large = crowd.write(scene.node.directory())?;
    let api = ApiServer::start(&scene.node)?;
    crowd.put(&api);

    let start = |builder: DaemonBuilder| builder.ready_within(Duration::from_mins(1)).start(&scene.node);
    let named = |n: u32| format!("{n} pods, {} services", args.services);
    let mut states = Vec::new();

    let daemon = start(Daemon::builder(netobs).metadata_file(&small))?;
    idle::measure(&daemon, args.idle, verdicts)?;
    states.push(state("idle, one pod", &daemon)?);
    drop(daemon);

    let daemon = start(Daemon::builder(netobs).metadata_file(&small).arg("--drop-burst").arg("1000000"))?;
    send_events(&scene)?;
    states.push(state("one pod, after 100,000 events", &daemon)?);
    drop(daemon);

    let daemon = start(Daemon::builder(netobs).kubeconfig(api.kubeconfig()))?;
    states.push(state(&format!("{} in the cluster, API server", named(args.pods)), &daemon)?);
    drop(daemon);

    let daemon = start(Daemon::builder(netobs).kubeconfig(api.kubeconfig()).arg("--watch-all-pods"))?;
    states.push(state(&format!("{} known, API server, --watch-all-pods", named(args.pods)), &daemon)?);
    drop(daemon);

    let daemon = start(Daemon::builder(netobs).metadata_file(&large).arg("--drop-burst").arg("1000000"))?;
    states.push(state(&format!("{} known, file", named(args.pods)), &daemon)?);
    send_events(&scene)?;
    states.push(state(&format!("{} known, file, after 100,000 events", named(args.pods)), &daemon)?);
    drop(daemon);

    print(&states);
    budget::judge(&states, verdicts);
    Ok(())
}

fn state(name: &str, daemon: &Daemon) -> Result<State> {
    // What start and the last events left behind settles within a second or two.
    std::thread::sleep(Duration::from_secs(2));
    let status = daemon.client().get_json("/v1/status")?;
    let history = status["history"].as_array().context("no history in the status")?;
    Ok(State {
        name: name.to_owned(),
        memory: Memory::of(daemon.pid())?,
        maps: proc::map_memory(daemon.pid())?,
        pods: status["metadata"]["pods"].as_u64().unwrap_or(0),
        map_bytes: status["bpf_map_bytes"].as_u64(),
        events: history.iter().filter_map(|class| class["events"].as_u64()).sum(),
    })
}

fn send_events(scene: &Scene) -> Result<()> {
    let socket = scene.socket()?;
    socket.connect(scene.outside(*DROPPED.start()))?;
    for _ in 0..EVENTS / PORTION {
        flood(&socket, PORTION)?;
        std::thread::sleep(Duration::from_millis(40));
    }
    Ok(())
}

fn print(states: &[State]) {
    let rows: Vec<_> = states
        .iter()
        .map(|state| {
            let own = state.memory.rss - state.memory.part(proc::MAPPED_MAPS);
            vec![
                state.name.clone(),
                state.pods.to_string(),
                state.events.to_string(),
                mib(state.memory.rss),
                mib(state.memory.pss),
                mib(own),
                mib(state.memory.part(proc::HEAP)),
                mib(state.memory.part(proc::PROGRAM)),
                mib(state.maps.values().sum()),
                state.map_bytes.map_or_else(|| "-".to_owned(), mib),
            ]
        })
        .collect();
    table::print(
        "Memory of the daemon, MiB",
        &[
            "state",
            "pods known",
            "events held",
            "RSS",
            "PSS",
            "RSS without maps",
            "heap",
            "program",
            "BPF maps (fdinfo)",
            "BPF maps (status)",
        ],
        &rows,
    );
}
