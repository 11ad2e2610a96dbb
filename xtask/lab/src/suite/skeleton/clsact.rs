//! Interfaces that refuse tcx have clsact filters: they see the same, are nobody's trouble, and leave nothing for good.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::dns::kube_dns;
use super::drops::{client_to_db, forward_nft};
use super::ends::traffic_flows;
use super::neighbours::{AGAIN, names_are_seen};
use crate::suite::json::text;
use crate::suite::traffic::{BLOCKED, ask, forbid};
use crate::suite::{Context, Outcome, Stage};
use crate::{Daemon, DaemonBuilder, Layout, PodSpec, Shop};

const SECOND: Duration = Duration::from_secs(1);
/// A new interface is left alone for five seconds, and looked at once a second.
const FRESH: Duration = Duration::from_secs(7);

fn without_tcx(daemon: DaemonBuilder) -> DaemonBuilder {
    daemon.arg("--without").arg("tcx")
}

/// A further daemon on the stage, without tcx.
fn another(context: &Context, stage: &Stage, port: u16) -> Result<Daemon> {
    let daemon = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig());
    without_tcx(daemon).listen(format!("127.0.0.1:{port}")).start(&stage.node)
}

/// The filters of an interface's direction as `tc` shows them, without the places of their preferences.
fn filters(shop: &Shop, interface: &str, direction: &str) -> Result<Vec<Value>> {
    let shown = shop.node.must(&["tc", "-j", "filter", "show", "dev", interface, direction])?.stdout;
    let rows: Vec<Value> = serde_json::from_str(&shown).with_context(|| format!("tc printed {shown}"))?;
    Ok(rows.into_iter().filter(|row| row["options"].is_object()).collect())
}

fn is_netobs(row: &Value) -> bool {
    text(row, "/options/bpf_name").starts_with("netobs-")
}

/// All filters of the node's interfaces: netobs's own, or everybody else's. By interface and direction.
fn all(shop: &Shop, netobs: bool) -> Result<BTreeMap<(String, &'static str), Vec<Value>>> {
    let links: Value = serde_json::from_str(&shop.node.must(&["ip", "-j", "link", "show"])?.stdout)?;
    let mut found = BTreeMap::new();
    for link in links.as_array().into_iter().flatten() {
        let name = text(link, "/ifname");
        for direction in ["ingress", "egress"] {
            let mut rows = filters(shop, name, direction)?;
            rows.retain(|row| is_netobs(row) == netobs);
            if !rows.is_empty() {
                found.insert((name.to_owned(), direction), rows);
            }
        }
    }
    Ok(found)
}

/// The interfaces with a clsact qdisc.
fn qdiscs(shop: &Shop) -> Result<Vec<String>> {
    let shown: Value = serde_json::from_str(&shop.node.must(&["tc", "-j", "qdisc", "show"])?.stdout)?;
    let clsact = shown.as_array().into_iter().flatten().filter(|qdisc| qdisc["kind"] == "clsact");
    Ok(clsact.map(|qdisc| text(qdisc, "/dev").to_owned()).collect())
}

/// The preference of the one netobs filter in this direction.
fn preference(shop: &Shop, interface: &str, direction: &str) -> Result<u64> {
    let rows = filters(shop, interface, direction)?;
    let ours: Vec<_> = rows.iter().filter(|row| is_netobs(row)).collect();
    ensure!(ours.len() == 1, "{} netobs filters at {interface} {direction}: {rows:?}", ours.len());
    ours[0]["pref"].as_u64().context("no preference")
}

/// The status says that all interfaces have clsact filters, and why; and they have.
fn all_have_clsact(stage: &Stage, why: &str) -> Result<()> {
    let status = stage.status()?;
    let hook = |name: &str| status["hooks"].as_array().into_iter().flatten().find(|hook| hook["name"] == name);
    let (tcx, clsact) = (hook("tcx").context("no hook tcx")?, hook("clsact").context("no hook clsact")?);
    ensure!(tcx["attached"] == false && text(tcx, "/detail").contains(why), "{tcx}");
    // Five pods, bridge, uplink and loopback.
    ensure!(clsact["attached"] == true && clsact["detail"] == "8 interfaces", "{clsact}");
    let attached = status["interfaces"].as_array().into_iter().flatten();
    let attached = attached.filter(|row| row["attached"] == json!(["ingress", "egress"]) && row["why_not"].is_null());
    ensure!(attached.count() == 8, "interfaces: {}", status["interfaces"]);
    ensure!(all(stage, true)?.len() == 16, "filters: {:?}", all(stage, true)?);
    Ok(())
}

/// Drops with hook and points, and DNS, with nothing but clsact; and the status says so.
pub fn clsact_sees_what_tcx_sees(context: &Context) -> Result<Outcome> {
    let stage = Stage::with(context, without_tcx)?;
    all_have_clsact(&stage, "--without tcx")?;
    let location = forward_nft(&stage)?;
    names_are_seen(&stage, 1)?;
    stage.finish(format!("8 interfaces, DNS and a drop in {location}"))
}

/// Without being told: a kernel that knows no links. One that merely does not allow them is no reason for clsact.
pub fn clsact_where_the_kernel_refuses_tcx(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::with(context, |daemon| daemon.refuse_links(libc::EINVAL))?;
    all_have_clsact(&stage, "the kernel refuses it (Invalid argument")?;
    names_are_seen(&stage, 1)?;
    // The drop programs are no links; without fentry and kprobes, only the netfilter hook is not known on such a kernel.
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let walk = stage.feature("netfilter hooks")?["state"] == "degraded";
    let hook = if walk { "FORWARD".into() } else { Value::Null };
    client_to_db(&stage, &json!({"drop": {"reason": "NETFILTER_DROP", "hook": hook}}))?;
    ensure!(stage.daemon.terminate(8 * SECOND)?.success(), "its log: {}", stage.daemon.log());
    ensure!(all(&stage, true)?.is_empty(), "filters are left: {:?}", all(&stage, true)?);
    let daemon = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig()).refuse_links(libc::EPERM);
    drop(stage.replace_daemon(daemon.start(&stage.node)?));
    let status = stage.status()?;
    let rows = status["interfaces"].as_array().into_iter().flatten();
    let refused = rows.filter(|row| text(row, "/why_not").contains("Operation not permitted")).count();
    ensure!(refused == 8 && all(&stage, true)?.is_empty(), "{}", status["interfaces"]);
    stage.finish("EINVAL: clsact on 8 interfaces; EPERM: nothing is attached, and it is said why")
}

/// Adds filters of somebody's to both directions: in front of ours, in the preference that ours would take, and behind. All
/// are classic BPF; those behind ours end a packet's way, the others pass it on.
fn add_foreign(shop: &Shop, interface: &str) -> Result<()> {
    const PASS_ON: &str = "1,6 0 0 4294967295,";
    const END: &str = "1,6 0 0 0,";
    shop.node.must(&["tc", "qdisc", "add", "dev", interface, "clsact"])?;
    for direction in ["ingress", "egress"] {
        for (preference, handle, program) in [("1", "1", PASS_ON), ("4", "7", PASS_ON), ("20", "9", END)] {
            shop.node.must(&[
                "tc", "filter", "add", "dev", interface, direction, "pref", preference, "handle", handle, "protocol",
                "all", "bpf", "da", "bytecode", program,
            ])?;
        }
    }
    Ok(())
}

/// Somebody's filters before and after ours, made before and while the daemon runs: they and the qdiscs are unchanged after
/// its start, SIGTERM, SIGKILL and the start after that.
pub fn clsact_foreign_filters_are_let_be(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    let interface = shop.client.host_interface().to_owned();
    add_foreign(&shop, &interface)?;
    let before = all(&shop, false)?;
    ensure!(before.values().map(Vec::len).sum::<usize>() == 6, "foreign filters: {before:?}");
    let mut stage = Stage::on(context, shop, without_tcx)?;
    let unchanged = |stage: &Stage, when: &str| -> Result<()> {
        let now = all(stage, false)?;
        ensure!(now == before, "{when} somebody's filters are {now:?} instead of {before:?}");
        ensure!(qdiscs(stage)?.len() == 8, "{when} there are clsact qdiscs at {:?}", qdiscs(stage)?);
        Ok(())
    };
    unchanged(&stage, "after the start")?;
    // The first of ours that is free; what ends a packet's way behind it hides nothing.
    ensure!(preference(&stage, &interface, "ingress")? == 5 && preference(&stage, &interface, "egress")? == 5);
    names_are_seen(&stage, 1)?;
    let behind = |status: &Value| {
        let mut rows = status["interfaces"].as_array().into_iter().flatten();
        rows.any(|row| row["name"] == interface.as_str() && text(row, "/why_not").contains("going first"))
    };
    stage.status_when("somebody's filter goes first", 5 * SECOND, behind)?;

    let status = stage.daemon.terminate(8 * SECOND)?;
    ensure!(status.success(), "it ended with {status}; its log: {}", stage.daemon.log());
    unchanged(&stage, "after SIGTERM")?;
    ensure!(all(&stage, true)?.is_empty(), "after SIGTERM ours are left: {:?}", all(&stage, true)?);
    let mut second = another(context, &stage, 7117)?;
    unchanged(&stage, "after the second start")?;
    second.kill()?;
    unchanged(&stage, "after SIGKILL")?;
    drop(stage.replace_daemon(another(context, &stage, 7117)?));
    unchanged(&stage, "after the start after SIGKILL")?;
    names_are_seen(&stage, 3)?;
    stage.finish("6 filters of somebody's unchanged, ours in preference 5 between them")
}

/// SIGKILL: the filters stay and let everything pass; the next start removes them, and only them, whether it has tcx or not.
pub fn clsact_sigkill_leaves_inert_filters(context: &Context) -> Result<Outcome> {
    let shop = Shop::start(Layout::Bridge)?;
    add_foreign(&shop, shop.node.uplink())?;
    let foreign = all(&shop, false)?;
    let mut stage = Stage::on(context, shop, without_tcx)?;
    let mut lasted = 0;
    for again_without_tcx in [true, false] {
        stage.daemon.kill()?;
        let left_over = all(&stage, true)?;
        ensure!(left_over.len() == 16, "16 filters should have stayed: {left_over:?}");
        traffic_flows(&stage)?;
        lasted += left_over.len();
        let daemon = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig());
        let daemon = if again_without_tcx { without_tcx(daemon) } else { daemon };
        drop(stage.replace_daemon(daemon.start(&stage.node)?));
        let now = all(&stage, true)?;
        let names = |filters: &BTreeMap<_, Vec<Value>>| -> Vec<String> {
            filters.values().flatten().map(|row| text(row, "/options/bpf_name").to_owned()).collect()
        };
        let left: Vec<_> = names(&now).into_iter().filter(|name| names(&left_over).contains(name)).collect();
        ensure!(left.is_empty(), "stale filters are left: {left:?}");
        let by_tcx = stage.feature("interfaces")?["by"] == "tcx";
        ensure!(!(again_without_tcx && by_tcx), "tcx is used in spite of --without tcx");
        ensure!(now.len() == if by_tcx { 0 } else { 16 }, "filters of the new start: {now:?}");
        ensure!(all(&stage, false)? == foreign, "somebody's filters are {:?}", all(&stage, false)?);
    }
    names_are_seen(&stage, 1)?;
    stage.finish(format!("{lasted} filters stayed, let all pass and were removed"))
}

/// Two daemons with clsact: each has its own filters, sees all, and the end of one, however it ends, is nothing to the other.
pub fn clsact_two_instances(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::with(context, without_tcx)?;
    let interface = stage.client.host_interface().to_owned();
    let first = all(&stage, true)?;
    // Filters of the first, among those that are there now.
    let of_first = |stage: &Stage| -> Result<BTreeMap<(String, &'static str), Vec<Value>>> {
        let mut now = all(stage, true)?;
        for (place, rows) in &mut now {
            rows.retain(|row| first.get(place).is_some_and(|mine| mine.contains(row)));
        }
        now.retain(|_, rows| !rows.is_empty());
        Ok(now)
    };
    let mut second = another(context, &stage, 7118)?;
    ensure!(of_first(&stage)? == first, "the second has touched the first's: {:?}", of_first(&stage)?);
    let both = filters(&stage, &interface, "ingress")?;
    let preferences: Vec<_> = both.iter().map(|row| row["pref"].clone()).collect();
    ensure!(preferences == [4, 5], "filters at {interface}: {both:?}");
    names_are_seen(&stage, 1)?;
    second.kill()?;
    // The second's are stale, the first's are not.
    let mut third = another(context, &stage, 7118)?;
    ensure!(of_first(&stage)? == first, "the third has touched the first's: {:?}", of_first(&stage)?);
    ensure!(filters(&stage, &interface, "ingress")?.len() == 2, "the second's filters are left");
    names_are_seen(&stage, 3)?;
    ensure!(third.terminate(8 * SECOND)?.success(), "the third's end");
    ensure!(all(&stage, true)? == first, "the third has removed others: {:?}", all(&stage, true)?);
    // The other way round: the older one ends, the newer one stays.
    let fourth = another(context, &stage, 7118)?;
    let mut oldest = stage.replace_daemon(fourth);
    ensure!(oldest.terminate(8 * SECOND)?.success(), "the first's end");
    let left = all(&stage, true)?;
    ensure!(left.len() == 16 && left.values().all(|rows| rows.len() == 1), "of the newer one are left {left:?}");
    names_are_seen(&stage, 5)?;
    stage.finish("own filters each; SIGKILL and SIGTERM of one do not touch the other's")
}

/// Somebody deletes a filter of ours, and the qdisc of another interface: ours come back.
pub fn clsact_comes_back(context: &Context) -> Result<Outcome> {
    let stage = Stage::with(context, without_tcx)?;
    let before = all(&stage, true)?.len();
    let (client, uplink) = (stage.client.host_interface(), stage.node.uplink());
    stage.node.must(&["tc", "filter", "delete", "dev", client, "ingress", "pref", "4"])?;
    stage.node.must(&["tc", "qdisc", "delete", "dev", uplink, "clsact"])?;
    ensure!(all(&stage, true)?.len() == before - 3, "nothing was deleted");
    let start = Instant::now();
    while all(&stage, true)?.len() < before {
        ensure!(start.elapsed() < AGAIN, "ours are not back after {AGAIN:?}: {:?}", all(&stage, true)?.keys());
        std::thread::sleep(SECOND / 5);
    }
    let back = start.elapsed();
    names_are_seen(&stage, 1)?;
    stage.finish(format!("back after {:.1} s", back.as_secs_f64()))
}

/// Whoever makes an interface may still add an `ingress` qdisc to it: the daemon waits. Such a qdisc has no egress, and the
/// status says so; nothing is met twice.
pub fn clsact_waits_for_the_maker_of_an_interface(context: &Context) -> Result<Outcome> {
    let stage = Stage::with(context, without_tcx)?;
    let guest = stage.node.add_pod(PodSpec::new("shop", "guest"))?;
    let plain = stage.node.add_pod(PodSpec::new("shop", "plain"))?;
    stage.api.sync_from(&stage.node);
    let attached = |status: &Value, name: &str| -> Option<Value> {
        let row = status["interfaces"].as_array()?.iter().find(|row| row["name"] == name)?;
        Some(json!([row["attached"], row["why_not"]]))
    };
    let came = Instant::now();
    stage.status_when("it waits", 3 * SECOND, |status| {
        attached(status, guest.host_interface()).is_some_and(|row| row[0] == json!([]) && row[1].is_string())
    })?;
    std::thread::sleep((2 * SECOND).saturating_sub(came.elapsed()));
    stage.node.must(&["tc", "qdisc", "add", "dev", guest.host_interface(), "ingress"])?;
    let status = stage.status_when("both are observed", FRESH, |status| {
        attached(status, guest.host_interface()).is_some_and(|row| row[0] == json!(["ingress"]))
            && attached(status, plain.host_interface()) == Some(json!([["ingress", "egress"], null]))
    })?;
    let waited = came.elapsed();
    let row = attached(&status, guest.host_interface()).context("no such interface")?;
    ensure!(text(&row, "/1").contains("ingress qdisc"), "{row}");
    ensure!(filters(&stage, guest.host_interface(), "ingress")?.len() == 1, "one filter on the ingress qdisc");
    for (id, from) in [(41, &guest), (42, &plain)] {
        ask(from, kube_dns(&stage)?[0], id, "web.shop.svc.cluster.local")?;
        let event = stage.one(&json!({"kind": "dns", "dns": {"id": id, "outcome": "answered"}}))?;
        let points: Vec<_> = event["points"].as_array().into_iter().flatten().collect();
        let first = points.first().context("no points")?;
        ensure!(first["at"] == "tcx-ingress" && first["interface"] == from.host_interface(), "{points:?}");
    }
    stage.finish(format!("attached after {:.1} s", waited.as_secs_f64()))
}
