//! A reset.

use std::fmt::Write;

use super::{destination, service, source, with_port};
use crate::event::observation::{Observation, ResetCause, ResetDetail, ResetEnd};

/// Who did what to whom.
pub fn reset(text: &mut String, observation: &Observation, reset: &ResetDetail) -> std::fmt::Result {
    let flow = observation.flow.as_ref();
    let (ips, ports) = (
        (flow.and_then(|flow| flow.source_ip), flow.and_then(|flow| flow.destination_ip)),
        (flow.and_then(|flow| flow.source_port), flow.and_then(|flow| flow.destination_port)),
    );
    // The port of who opened it says nothing.
    let source = with_port(source(observation), ips.0, ports.0.filter(|_| reset.opener != Some(ResetEnd::Source)));
    let asked_by_destination = reset.opener == Some(ResetEnd::Destination) || reset.cause == ResetCause::Rejected;
    let destination = with_port(destination(observation), ips.1, ports.1.filter(|_| !asked_by_destination));
    text.push_str("reset: ");
    match reset.cause {
        ResetCause::Rejected => {
            let hook = reset.hook.as_ref().map(|hook| format!(" in {hook}")).unwrap_or_default();
            write!(text, "a packet filter rule{hook} rejected {destination} -> {source}")?;
            return service(text, observation);
        }
        ResetCause::Refused => write!(text, "{source} refused {destination}")?,
        ResetCause::Aborted => write!(text, "{source} reset the connection of {destination}")?,
        ResetCause::NoConnection => write!(text, "{source} knows no connection with {destination}")?,
        ResetCause::Unknown => write!(text, "{source} reset {destination}, nothing more is known")?,
    }
    service(text, observation)?;
    match (reset.cause, reset.reason.as_deref(), &reset.source_state) {
        (ResetCause::Refused, None | Some("NO_SOCKET"), None) => write!(text, ": nothing listens there"),
        (_, reason, _) => {
            let age = reset.age_ms.map(|age| format!("{} after it was opened", duration(age)));
            let known: Vec<&str> = reason.into_iter().chain(age.as_deref()).collect();
            if known.is_empty() { Ok(()) } else { write!(text, " ({})", known.join(", ")) }
        }
    }
}

/// Milliseconds, as people say it.
fn duration(milliseconds: f64) -> String {
    if milliseconds < 1e3 { format!("{milliseconds:.1} ms") } else { format!("{:.1} s", milliseconds / 1e3) }
}
