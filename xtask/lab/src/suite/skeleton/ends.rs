//! How the daemon ends: killed, it leaves nothing; asked to, it drains first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::dns::kube_dns;
use crate::slow::patience;
use crate::suite::json::{drop_to, text};
use crate::suite::traffic::{BLOCKED, ask, flood, forbid};
use crate::suite::{Context, Outcome, Stage};
use crate::{Client, Daemon};

const SECOND: Duration = Duration::from_secs(1);
/// How long the end may take after SIGTERM (`--drain-ms`).
const DEADLINE: Duration = Duration::from_secs(5);

/// Ids of the BPF links and programs that a process holds, from what the kernel says of its descriptors
/// (`bpf_link_show_fdinfo`, `bpf_prog_show_fdinfo` in `kernel/bpf/syscall.c`).
fn held_by(pid: u32) -> Result<[BTreeSet<u64>; 2]> {
    let (mut links, mut programs) = (BTreeSet::new(), BTreeSet::new());
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        links.extend(field("link_id:"));
        programs.extend(field("prog_id:"));
    }
    Ok([links, programs])
}

/// Ids of all BPF links and programs there are.
fn all(stage: &Stage) -> Result<[BTreeSet<u64>; 2]> {
    let ids = |what: &str| -> Result<BTreeSet<u64>> {
        let list: Value = serde_json::from_str(&stage.node.must(&["bpftool", "-j", what, "show"])?.stdout)?;
        Ok(list.as_array().into_iter().flatten().filter_map(|entry| entry["id"].as_u64()).collect())
    };
    Ok([ids("link")?, ids("prog")?])
}

pub(super) fn traffic_flows(stage: &Stage) -> Result<()> {
    for to in kube_dns(stage)? {
        let asked = ask(&stage.client, to, 1, "web.shop.svc.cluster.local")?;
        ensure!(asked.1.is_some(), "no answer from {to}");
    }
    for to in [stage.web_service.at("http"), stage.web_service.at6("http")].into_iter().flatten() {
        stage.client.tcp_connect(to, 3 * SECOND).with_context(|| format!("connecting to {to}"))?;
    }
    Ok(())
}

/// SIGKILL: no program stays attached, traffic flows as before, and a new daemon starts.
pub fn sigkill_leaves_nothing(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::start(context)?;
    let held = held_by(stage.daemon.pid())?;
    ensure!(!held[0].is_empty() && !held[1].is_empty(), "the daemon holds nothing: {held:?}");
    // Four tracepoints; where there are links for them: five pods, bridge, uplink and loopback, both directions each, and ten
    // netfilter hooks.
    let by_tcx = stage.feature("interfaces")?["by"] == "tcx";
    let expected = 4 + if by_tcx { 16 } else { 0 } + if stage.has_netfilter_links()? { 10 } else { 0 };
    ensure!(held[0].len() >= expected, "the daemon holds {} links, not {expected}", held[0].len());
    traffic_flows(&stage)?;
    stage.daemon.kill()?;
    // Links are freed by a work queue of the kernel.
    let end = Instant::now() + patience(3 * SECOND);
    let left = loop {
        let now = all(&stage)?;
        let left: usize = held.iter().zip(&now).map(|(held, now)| held.intersection(now).count()).sum();
        if left == 0 || Instant::now() > end {
            break left;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(left == 0, "{left} links and programs are left");
    traffic_flows(&stage)?;
    let again = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig()).start(&stage.node)?;
    drop(stage.replace_daemon(again));
    stage.finish(format!("{} links and {} programs gone", held[0].len(), held[1].len()))
}

/// SIGTERM with clients on the stream: events in flight are delivered, streams end, exit code 0, in time.
pub fn sigterm_drains(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::with(context, |daemon| daemon.arg("--drop-burst").arg("1000000"))?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let path = "/v1/events/stream?reason=NETFILTER_DROP";
    let tcp = Client::tcp_in(&stage.node, "127.0.0.1:7117".parse()?);
    let streams = [stage.client().stream(path)?, tcp.stream(path)?];
    let stuck = stage.client().stream_bounded(path, 1)?;
    let to = stage.db.at(BLOCKED);
    flood(&stage.client, to, 500, None)?;
    let start = Instant::now();
    let status = stage.daemon.terminate(8 * SECOND)?;
    let took = start.elapsed();
    // The stuck client may be waited for until the deadline, and what comes after that has a busy machine's time.
    ensure!(took < patience(DEADLINE + 2 * SECOND), "it took {took:?}");
    ensure!(status.success(), "it ended with {status}; its log: {}", stage.daemon.log());
    for lines in &streams {
        for index in 0..500 {
            let line =
                lines.next(3 * SECOND).with_context(|| format!("the stream ended after {index} events of 500"))?;
            ensure!(text(&line.json()?, "/drop/reason") == "NETFILTER_DROP", "a line {}", line.text);
        }
        ensure!(lines.ended(3 * SECOND), "the stream does not end");
    }
    drop(stuck);
    let again = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig()).start(&stage.node)?;
    drop(stage.replace_daemon(again));
    stage.caused(drop_to("udp", to));
    stage.finish(format!("ended after {} ms, 500 events delivered to each of two clients", took.as_millis()))
}
