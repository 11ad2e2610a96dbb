//! `start`: from the process's start to the first 200 of `/readyz`, on a node with 50 pods and its API server.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::scene::Scene;
use super::stats::Sample;
use super::table;
use super::verdict::Verdicts;
use crate::{ApiServer, Daemon, DaemonBuilder, PodSpec, Service};

/// How often.
#[derive(Args, Debug)]
pub struct StartArgs {
    /// Starts of each kind.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Pods on the node.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=200))]
    pods: u8,
}

/// Milliseconds of one kind of start.
struct Starts {
    /// Seen from outside, to the next 10 ms or so.
    ready: Sample,
    /// As the daemon says, from the beginning of its `main`.
    said: Sample,
    /// CPU time used until then.
    cpu: Sample,
}

/// Runs it. There is no goal for it, so nothing is judged.
pub fn run(netobs: &Path, args: &StartArgs, _verdicts: &mut Verdicts) -> Result<()> {
    let scene = Scene::new()?;
    for number in 1..args.pods {
        scene.node.add_pod(PodSpec::new("shop", format!("web-{number}")).deployment("web"))?;
    }
    scene.node.add_service(Service::new("shop", "web").tcp("http", 80, 8080))?;
    let api = ApiServer::start(&scene.node)?;
    let file = scene.node.write_metadata()?;
    let kinds: [(&str, &dyn Fn(DaemonBuilder) -> DaemonBuilder); 3] = [
        ("names from the API server", &|daemon| daemon.kubeconfig(api.kubeconfig())),
        ("names from a file", &|daemon| daemon.metadata_file(&file)),
        ("no names", &|daemon| daemon.arg("--no-metadata")),
    ];
    let mut rows = Vec::new();
    for (name, configure) in kinds {
        let starts = measure(netobs, &scene, args.runs, configure)?;
        let column = |sample: &Sample| format!("{:.0} / {:.0}", sample.quantile(0.5), sample.max());
        rows.push(vec![name.to_owned(), column(&starts.ready), column(&starts.said), column(&starts.cpu)]);
    }
    table::print(
        &format!(
            "Process start to ready with {} pods on the node, {} starts, ms, median / longest",
            args.pods, args.runs
        ),
        &["", "seen from outside", "as the daemon says", "CPU time"],
        &rows,
    );
    Ok(())
}

fn measure(
    netobs: &Path,
    scene: &Scene,
    runs: u32,
    configure: &dyn Fn(DaemonBuilder) -> DaemonBuilder,
) -> Result<Starts> {
    let (mut ready, mut said, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut daemon = configure(Daemon::builder(netobs)).start(&scene.node)?;
        cpu.push(super::clocks::process_cpu(daemon.pid())?.as_secs_f64() * 1e3);
        ready.extend(daemon.ready_after().map(|time| time.as_secs_f64() * 1e3));
        let status = daemon.client().get_json("/v1/status")?;
        said.extend(status["ready_after_seconds"].as_f64().map(|seconds| seconds * 1e3));
        daemon.terminate(Duration::from_secs(10))?;
    }
    Ok(Starts { ready: Sample::new(ready), said: Sample::new(said), cpu: Sample::new(cpu) })
}
