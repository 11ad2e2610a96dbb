//! The kernel programs' own debug lines, in the daemon's log when they are asked for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::dns::kube_dns;
use crate::suite::traffic::ask;
use crate::suite::{Context, Outcome, Stage};

/// With `--debug-programs` the log has a line of the program that saw the question; without, none.
pub fn programs_debug_lines(context: &Context) -> Result<Outcome> {
    let quiet = Stage::start(context)?;
    let line = logged_question(&quiet, Duration::from_millis(300))?;
    ensure!(line.is_none(), "not asked for: {line:?}");
    let stage = Stage::with(context, |daemon| daemon.arg("--debug-programs"))?;
    let line = logged_question(&stage, Duration::from_secs(8))?;
    ensure!(line.is_some(), "asked for, but the log is {}", stage.daemon.log());
    stage.finish("a line of the program that saw the question, only when asked for")
}

/// Asks a question and looks for the program's line about it: it goes a way of its own, through aya-log's ring.
fn logged_question(stage: &Stage, within: Duration) -> Result<Option<String>> {
    ask(&stage.client, kube_dns(stage)?[0], 7, "web.shop.svc.cluster.local")?;
    stage.one(&json!({"kind": "dns", "dns": {"id": 7}}))?;
    let end = Instant::now() + within;
    let is_it = |line: &&str| line.contains("DEBUG") && line.contains("dns:") && line.contains("to port 53");
    loop {
        let line = stage.daemon.log().lines().find(is_it).map(str::to_owned);
        if line.is_some() || Instant::now() > end {
            return Ok(line);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
