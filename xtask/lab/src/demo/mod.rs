//! The demo: a small shop on a lab node, netobs watching it, and faults that happen one after another.

mod expect;
mod families;
mod fault;
mod plot;
mod report;
mod scene;
mod screen;
mod signals;
mod stage;
mod tail;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::Relay;
use scene::Scene;
use screen::{QUIET, STRONG, styled};
use signals::{INTERRUPTED, Stop};
use stage::Stage;

/// First port of the machine's loopback that is tried for the relay, which is the daemon's own by default, and how many.
const PORTS: std::ops::Range<u16> = 7117..7137;
/// Time between faults once all have been shown.
const PAUSE: Duration = Duration::from_secs(15);

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// End by itself: exit code 0 if each fault was seen with the right pods and nothing else was reported, else 1.
    #[arg(long)]
    once: bool,
}

/// Runs it to its end, or until Ctrl-C.
pub fn run(netobs: &Path, args: &DemoArgs) -> Result<ExitCode> {
    if let Some(reason) =
        crate::unavailable().or_else(|| crate::missing(&[("knotd", "knot"), ("dig", "bind9-dnsutils")]))
    {
        bail!("the demo cannot run here: {reason}");
    }
    // A process that is started inside a namespace looks the same path up from the same directory, but a person reads
    // the path in hints.
    let netobs = netobs.canonicalize().with_context(|| format!("the daemon's binary {}", netobs.display()))?;
    let stop = Stop::install()?;
    match perform(&netobs, args, &stop) {
        Err(error) => {
            // Ctrl-C goes to the tools and servers of the lab as well: their end may be noticed first.
            std::thread::sleep(Duration::from_millis(50));
            if !stop.is_set() {
                return Err(error);
            }
            anstream::println!("\ninterrupted; everything is cleaned up");
            Ok(ExitCode::from(INTERRUPTED))
        }
        done => done,
    }
}

fn perform(netobs: &Path, args: &DemoArgs, stop: &Stop) -> Result<ExitCode> {
    let begin = Instant::now();
    let what = "a Kubernetes node made of network namespaces, and eight things that go wrong on it";
    screen::line(&format!("{}: {what}", styled(STRONG, "netobs demo")), "", 2);
    anstream::println!();
    let scene = Scene::start(netobs, stop)?;
    anstream::println!(
        "           {}",
        styled(QUIET, format_args!("set up in {:.1} s", begin.elapsed().as_secs_f64()))
    );
    let faults = plot::faults(&scene);
    // Dropped before the scene: a viewer outlived by its daemon has nothing to complain of.
    let mut stage = Stage::new(netobs, &scene, stop)?;
    for (number, fault) in (1..).zip(&faults) {
        stage.show(number, faults.len(), fault)?;
    }
    stage.linger(Duration::from_millis(500))?;
    let good = report::summary(&faults, stage.watch());
    if args.once {
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let relay = relay(scene.daemon.socket())?;
    hints(netobs, relay.address());
    let mut number = 0;
    while !stop.is_set() {
        stage.linger(PAUSE)?;
        if !stop.is_set() {
            stage.again(number + 1, faults.len(), &faults[number])?;
            number = (number + 1) % faults.len();
        }
    }
    anstream::println!("\ncleaning up");
    Ok(ExitCode::SUCCESS)
}

/// On the daemon's usual port of this machine's loopback, or one of the next.
fn relay(socket: &Path) -> Result<Relay> {
    let mut last = None;
    for port in PORTS {
        match Relay::start(SocketAddr::from(([127, 0, 0, 1], port)), socket) {
            Ok(relay) => return Ok(relay),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no port to try")?).context("no free port for the daemon's URL")
}

fn hints(netobs: &Path, address: SocketAddr) {
    let url = format!("http://{address}");
    anstream::println!("\n{} {}", styled(STRONG, "netobs listens at"), styled(STRONG, &url));
    let netobs = netobs.display();
    let rows = [
        ("the stream of problems", format!("curl -sN '{url}/v1/events/stream?severity=problem'")),
        ("with all that went well", format!("{netobs} observe --all --server {url}")),
        ("what has happened so far", format!("curl -s '{url}/v1/events?severity=problem&limit=3'")),
        ("what it sees and what not", format!("{netobs} status --server {url}")),
        ("its metrics", format!("curl -s {url}/metrics")),
    ];
    for (what, command) in rows {
        anstream::println!("  {}  {command}", styled(QUIET, format_args!("{what:<25}")));
    }
    let pause = PAUSE.as_secs();
    anstream::println!("\nIt goes on with one of the faults every {pause} s. Ctrl-C ends it and removes everything.\n");
}
