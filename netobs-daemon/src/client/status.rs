//! `netobs status`: what the daemon sees, what it does not see and why, as tables.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::client::check::features;
use crate::client::connect::{get, read};
use crate::client::output::{OutputError, ignore_closed_pipe, stdout};
use crate::client::render::clean;
use crate::client::server::ServerArgs;
use crate::client::tables::section;
use crate::http::status::{NodeStatus, Status};
use crate::pipeline::LedgerView;

/// Show what the daemon sees, what it does not see and why, and the loss ledger.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub server: ServerArgs,
    /// How to show it.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
}

/// How the status is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables.
    #[default]
    Table,
    /// As the API sends it.
    Json,
}

/// Asks once and prints the answer.
pub async fn status(args: &StatusArgs) -> Result<()> {
    let server = args.server.address();
    let body = read(get(&server, "/v1/status", "application/json").await?).await?;
    let text = match args.output {
        Output::Json => String::from_utf8_lossy(&body).into_owned() + "\n",
        Output::Table => {
            let status = serde_json::from_slice(&body);
            tables(&status.with_context(|| format!("{server} answered with something else than a status"))?)
        }
    };
    let mut out = stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ignore_closed_pipe(written.map_err(|error| OutputError(error).into()))
}

/// The status as text.
pub fn tables(status: &Status) -> String {
    let node = &status.node_status;
    let ready = match status.ready_after_seconds {
        _ if !status.readiness.ready => "not ready".to_owned(),
        Some(seconds) => format!("ready after {seconds:.1} s"),
        None => "ready".to_owned(),
    };
    let mut text = format!(
        "netobs {} on {}, kernel {}, up {:.0} s, {ready}\n",
        clean(&status.version),
        clean(&status.node),
        clean(&node.kernel),
        status.uptime_seconds
    );
    for waiting in &status.readiness.waiting {
        let _ = writeln!(text, "  waiting for {}: {}", clean(&waiting.name), clean(&waiting.reason));
    }
    let metadata = &node.metadata;
    let _ = writeln!(
        text,
        "names from: {} ({}), {} pods, {} services{}",
        clean(&metadata.source),
        if metadata.synced { "complete" } else { "not complete" },
        metadata.pods,
        metadata.services,
        metadata.detail.as_ref().map(|detail| format!("; {}", clean(detail))).unwrap_or_default()
    );
    node_tables(&mut text, node);
    ledger_tables(&mut text, &status.ledger);
    let rows = status.history.iter().map(|class| {
        let [kind, severity] = [format!("{:?}", class.kind), format!("{:?}", class.severity)].map(|s| s.to_lowercase());
        let events = format!("{} of {}", class.events, class.max_events);
        let bytes = format!("{} of {}", class.bytes, class.max_bytes);
        [kind, severity, events, bytes, class.evicted.to_string()]
    });
    section(&mut text, "History", ["kind", "severity", "events", "bytes", "evicted"], rows);
    if let Some(capabilities) = &node.capabilities {
        let kept = if capabilities.is_empty() { "none".to_owned() } else { clean(&capabilities.join(", ")) };
        let _ = writeln!(text, "\nCapabilities kept: {kept}");
    }
    let streams = &status.streams;
    let _ = writeln!(
        text,
        "\nStream clients: {} of {}, {} refused, {} events missed by slow ones",
        streams.clients, streams.max_clients, streams.refused, streams.missed
    );
    if let Some(listener) = &status.metrics_listener {
        let _ = writeln!(
            text,
            "Metrics on https://{}/metrics, certificate: {}{}{}",
            clean(&listener.address),
            clean(&listener.certificate),
            listener.certificate_expires.as_ref().map(|time| format!(", until {}", clean(time))).unwrap_or_default(),
            listener
                .certificate_problem
                .as_ref()
                .map(|why| format!("; NOT RENEWED: {}", clean(why)))
                .unwrap_or_default()
        );
    }
    text
}

fn node_tables(text: &mut String, node: &NodeStatus) {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<u64>| value.map(|number| number.to_string()).unwrap_or_default();
    let hooks = node
        .hooks
        .iter()
        .map(|hook| [hook.name.clone(), if hook.attached { "yes" } else { "NO" }.to_owned(), optional(&hook.detail)]);
    section(text, "Hooks", ["hook", "attached", "detail"], hooks);
    features(text, &node.features);
    let interfaces = node.interfaces.iter().map(|one| {
        let attached = if one.attached.is_empty() { "NO".to_owned() } else { one.attached.join(", ") };
        [one.ifindex.to_string(), one.name.clone(), one.kind.clone(), attached, optional(&one.why_not)]
    });
    section(text, "Interfaces", ["index", "name", "kind", "attached", "why not"], interfaces);
    let coverage = node
        .coverage
        .iter()
        .map(|pod| [format!("{}/{}", pod.namespace, pod.pod), optional(&pod.interface), pod.seen_by.clone()]);
    section(text, "Pods", ["pod", "interface", "seen by"], coverage);
    let limits = node
        .limits
        .iter()
        .map(|limit| [limit.name.clone(), limit.limit.to_string(), number(limit.used), number(limit.refused)]);
    section(text, "Limits", ["of", "limit", "used", "refused"], limits);
}

fn ledger_tables(text: &mut String, ledger: &LedgerView) {
    let rows = ledger.families.iter().flat_map(|family| {
        family.sums.iter().map(|sum| {
            let verdict = match sum.balanced {
                Some(true) => "balanced".to_owned(),
                Some(false) => format!("OFF BY {}", sum.difference),
                None => "not known".to_owned(),
            };
            [family.family.clone(), sum.formula.clone(), sum.left.to_string(), sum.right.to_string(), verdict]
        })
    });
    section(text, "Ledger", ["family", "sum", "left", "right", "verdict"], rows);
    if !ledger.settled {
        text.push_str("(packets were on their way while this was read: small differences mean nothing)\n");
    }
    if let Some(reason) = &ledger.kernel_unknown {
        let _ = writeln!(text, "The kernel's side is not known: {}", clean(reason));
    }
    if let Some(misses) = ledger.recursion_misses {
        let _ = writeln!(text, "Program runs that the kernel skipped: {misses}");
    }
    if let Some(error) = &ledger.last_undecodable {
        let _ = writeln!(text, "Last record that was not understood: {}", clean(error));
    }
}
