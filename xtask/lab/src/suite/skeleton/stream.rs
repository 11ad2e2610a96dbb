//! The event stream: the same for all clients, resumable, and honest about what was missed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::suite::json::{drop_to, must, number, text};
use crate::suite::traffic::{BLOCKED, flood, forbid, send};
use crate::suite::{Context, Outcome, Stage};
use crate::{Client, Daemon, Lines};

const SECOND: Duration = Duration::from_secs(1);
/// Events that the history of one kind holds of problems unless told otherwise.
const HELD: usize = 10_000;

/// A stage where datagrams to `shop/db-0` on [`BLOCKED`] are dropped, each an event.
fn dropping(context: &Context) -> Result<Stage> {
    let stage = Stage::with(context, |daemon| daemon.arg("--drop-burst").arg("1000000"))?;
    forbid(&stage.node, "forward", "filter", &format!("udp dport {BLOCKED}"))?;
    stage.caused(drop_to("udp", stage.db.at(BLOCKED)));
    Ok(stage)
}

/// The next event of a stream in either format.
fn next_event(lines: &Lines) -> Result<Value> {
    let end = Instant::now() + 3 * SECOND;
    while let Some(line) = lines.next(end.saturating_duration_since(Instant::now())) {
        let text = line.text.strip_prefix("data:").unwrap_or(&line.text);
        if let Ok(value) = serde_json::from_str::<Value>(text)
            && value["control"].is_null()
            && value.is_object()
        {
            return Ok(value);
        }
    }
    bail!("no event in three seconds")
}

/// Two clients, one NDJSON over the unix socket, one SSE over TCP.
pub fn two_clients_same_ids(context: &Context) -> Result<Outcome> {
    let stage = dropping(context)?;
    let tcp = Client::tcp_in(&stage.node, "127.0.0.1:7117".parse()?);
    let path = "/v1/events/stream?kind=drop&reason=NETFILTER_DROP";
    let ndjson = stage.client().stream(path)?;
    let sse = tcp.header("accept", "text/event-stream").stream(path)?;
    for _ in 0..20 {
        send(&stage.client, stage.db.at(BLOCKED))?;
    }
    let mut last = 0;
    for _ in 0..20 {
        let (one, other) = (next_event(&ndjson)?, next_event(&sse)?);
        ensure!(one == other, "{one}\nis not\n{other}");
        let sequence = text(&one, "/id").rsplit('.').next().unwrap_or_default().parse::<u64>()?;
        ensure!(sequence > last, "{} is not after {last}", text(&one, "/id"));
        last = sequence;
    }
    stage.finish("20 events, NDJSON and SSE alike")
}

/// A client that stops reading while more events come than are held.
pub fn stuck_client_is_told_what_it_missed(context: &Context) -> Result<Outcome> {
    let stage = dropping(context)?;
    let path = "/v1/events/stream?kind=drop&severity=problem";
    let stuck = stage.client().stream_bounded(path, 1)?;
    let reading = stage.client().stream(path)?;
    let sent = HELD + HELD / 2;
    flood(&stage.client, stage.db.at(BLOCKED), sent, Some(Duration::from_micros(50)))?;
    for index in 0..sent {
        let Some(line) = reading.next(3 * SECOND) else { bail!("the reading client has {index} events of {sent}") };
        let event = line.json()?;
        ensure!(event["control"].is_null(), "the reading client is told {event}");
    }
    let (mut events, mut missed, mut messages) = (0, 0, 0);
    while events + missed < sent {
        let Some(line) = stuck.next(3 * SECOND) else {
            bail!("the stuck client has {events} events and is told of {missed}: {sent} were sent")
        };
        let value = line.json()?;
        match value["control"].as_str() {
            Some("lagged") => {
                missed += usize::try_from(number(&value, "/missed"))?;
                messages += 1;
            }
            Some(_) => {}
            None => events += 1,
        }
    }
    ensure!(events + missed == sent && missed > 0, "{events} events, {missed} missed of {sent}");
    let status = stage.status()?;
    ensure!(number(&status, "/streams/missed") == missed as u64, "streams are {}", status["streams"]);
    let detail =
        format!("{sent} events: {events} read, {missed} told as missed in {messages} messages; the other had all");
    stage.finish(detail)
}

/// `?after=` and `Last-Event-ID`.
pub fn resume_after_id(context: &Context) -> Result<Outcome> {
    let stage = dropping(context)?;
    let to = stage.db.at(BLOCKED);
    for _ in 0..10 {
        send(&stage.client, to)?;
    }
    let like = drop_to("udp", to);
    let ids: Vec<_> = stage.expect(10, &like)?.iter().map(|event| text(event, "/id").to_owned()).collect();
    let path = "/v1/events/stream?kind=drop&severity=problem";
    let by_query = stage.client().stream(&format!("{path}&after={}", ids[3]))?;
    let by_header = stage.client().clone().header("last-event-id", &ids[3]).stream(path)?;
    send(&stage.client, to)?;
    let mut wanted = ids[4..].to_vec();
    wanted.push(text(&stage.expect(11, &like)?[10], "/id").to_owned());
    for lines in [by_query, by_header] {
        for id in &wanted {
            let event = next_event(&lines)?;
            ensure!(text(&event, "/id") == id, "{} instead of {id}", text(&event, "/id"));
        }
    }
    stage.finish("7 events after the fourth of 11, by query and by header")
}

/// A daemon that was restarted says that it does not know what happened in between.
pub fn restart_is_told_as_gap(context: &Context) -> Result<Outcome> {
    let mut stage = dropping(context)?;
    let to = stage.db.at(BLOCKED);
    send(&stage.client, to)?;
    let before = text(&stage.one(&drop_to("udp", to))?, "/id").to_owned();
    ensure!(stage.daemon.terminate(6 * SECOND)?.success(), "SIGTERM did not end it well");
    let again = Daemon::builder(&context.netobs).kubeconfig(stage.api.kubeconfig()).start(&stage.node)?;
    drop(stage.replace_daemon(again));
    let lines = stage.client().stream(&format!("/v1/events/stream?after={before}"))?;
    let Some(first) = lines.next(2 * SECOND) else { bail!("nothing is said about the restart") };
    must(&first.json()?, &json!({"control": "gap", "reason": "restart", "after": before}))?;
    send(&stage.client, to)?;
    let event = lines.find(2 * SECOND, |event| event["drop"]["reason"] == "NETFILTER_DROP")?.1;
    ensure!(text(&event, "/id") != before, "the id {before} is given twice");
    stage.finish("gap, then what comes")
}
