//! Nothing is lost silently: the ledger's sums, and the counts of coalesced bursts, against the rule's own counter.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Place;
use crate::suite::json::{contains, drop_to};
use crate::suite::ledger::is_settled;
use crate::suite::traffic::{BLOCKED, flood, forbid, forbidden};
use crate::suite::{Context, Outcome, Stage};

/// Packets that overflow the tiny ring.
const STORM: usize = 200_000;
/// Packets of the burst that is coalesced.
const BURST: usize = 20_000;

/// The drop family of the ledger.
fn drops(status: &Value) -> Result<&Value> {
    let families = status.pointer("/ledger/families").and_then(Value::as_array).context("no ledger")?;
    families.iter().find(|family| family["family"] == "drop").context("no family of drops")
}

fn line(family: &Value, name: &str) -> Result<u64> {
    let value = ["/kernel", "/daemon"].iter().find_map(|at| family.pointer(&format!("{at}/{name}"))?.as_u64());
    value.with_context(|| format!("no line {name} in {family}"))
}

/// A ring of one page and 200,000 drops as fast as they can be made: what finds no room in it is counted, to the last packet.
pub fn tiny_ring_ledger(context: &Context) -> Result<Outcome> {
    let stage = Stage::with(context, |daemon| daemon.arg("--ring-kib").arg("4").arg("--drop-burst").arg("1000000"))?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let to = stage.db.at(BLOCKED);
    stage.caused(drop_to("udp", to));
    // IPv6 has packets of its own that the kernel drops (router solicitations, multicast reports) for seconds after a
    // link has come up. In a full ring they would be counted and not named: none of them here.
    let node: &Place = &stage.node;
    let pods = stage.node.pods();
    for place in pods.iter().map(|pod| -> &Place { pod }).chain([node, stage.node.internet()]) {
        place.netns().sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
    }
    std::thread::sleep(Duration::from_millis(300));
    let before = stage.status_when("the ledger is settled", Duration::from_secs(10), is_settled)?;
    flood(&stage.client, to, STORM, None)?;
    // Sums are told every second.
    let all_told = |status: &Value| {
        let of = |name| drops(status).and_then(|drops| line(drops, name)).ok();
        is_settled(status) && of("coalesced").is_some() && of("coalesced") == of("summarised_packets")
    };
    let after = stage.status_when("all that was counted is told", Duration::from_secs(20), all_told)?;
    let counted = forbidden(&stage.node)?;
    ensure!(counted == STORM as u64, "the rule counts {counted}");
    let more = |name| -> Result<u64> { Ok(line(drops(&after)?, name)? - line(drops(&before)?, name)?) };
    // Drops of others in the same namespaces. Their events may be among those that were evicted or did not fit, but
    // the history holds the newest, and the storm's own class is that of problems.
    let others = stage.events(&json!({"kind": "drop"}))?;
    let others = others.iter().filter(|event| !contains(event, &drop_to("udp", to)) && is_new(event, &before)).count();
    let (seen, counted_instead, submitted) = (more("seen")?, more("coalesced")?, more("submitted")?);
    ensure!(counted_instead > 0, "the ring was never full: {}", drops(&after)?);
    ensure!(more("ring_full")? == 0 && more("coalesced_unkeyed")? == 0, "some are in no sum: {}", drops(&after)?);
    ensure!(
        seen == counted + others as u64,
        "{seen} seen, the rule counts {counted}, {others} were others: {}",
        drops(&after)?
    );
    // The history does not hold so many events; the ledger says what was published.
    let (published, summarised) = (more("published")?, more("summarised_packets")?);
    ensure!(published + summarised == seen, "{published} + {summarised} told: {}", drops(&after)?);
    let split = format!("{submitted} submitted + {counted_instead} that found no room, all of them told");
    stage.finish(format!("{seen} seen ({others} others) = {split}; every sum holds"))
}

/// Whether an event came after this status.
fn is_new(event: &Value, status: &Value) -> bool {
    let sequence = |id: &Value| id.as_str().and_then(|id| id.rsplit('.').next()?.parse::<u64>().ok());
    sequence(&event["id"]) > sequence(&status["position"])
}

/// With the defaults a burst is a few events and summaries: their counts add up to the packets.
pub fn coalescing_counts_exactly(context: &Context) -> Result<Outcome> {
    let stage = Stage::start(context)?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    let mut detail = Vec::new();
    for to in [stage.db.at(BLOCKED), stage.db.at6(BLOCKED)] {
        let before = forbidden(&stage.node)?;
        // A summary speaks for all source ports.
        let like = drop_to("udp", to);
        flood(&stage.client, to, BURST, None)?;
        let dropped = forbidden(&stage.node)? - before;
        ensure!(dropped == BURST as u64, "the rule counts {dropped}");
        let events = stage.told(&like, dropped)?;
        let summaries = events.iter().filter(|event| event["coalesced"] == true).count();
        ensure!(summaries > 0 && events.len() < BURST / 10, "{} events, {summaries} summaries", events.len());
        detail.push(format!("{dropped} packets = {} events + {summaries} summaries", events.len() - summaries));
    }
    stage.finish_settled(detail.join("; "))
}
