//! What users read of a reset, and of a flood of them.

use super::routine::state_before;
use super::{Sources, drops};
use crate::event::joined::{Flood, Joined, Reset};
use crate::event::observation::{FloodDetail, ResetCause, ResetDetail, ResetEnd};
use crate::event::raw::{RawSocket, Side};
use crate::event::tcp::{flag_names, state_name};

/// What the kernel says when it does not say.
const UNSPECIFIED: &str = "NOT_SPECIFIED";

/// What is told of it.
pub fn detail(reset: &Reset, joined: &Joined, sources: &Sources<'_>) -> ResetDetail {
    let packet = reset.packet.as_deref();
    let reason = reset.sender.as_ref().and_then(|sender| sender.reason);
    let state = |socket: &RawSocket| state_before(socket).and_then(state_name).map(str::to_owned);
    let age_ns = reset.opened_ns().map(|opened| joined.boot_ns.saturating_sub(opened));
    ResetDetail {
        cause: reset.cause,
        hook: reset.rejected_at.and_then(|last| drops::hook(&last, sources)).map(str::to_owned),
        reason: reason.and_then(|number| sources.naming.reset_reason(number)).filter(|name| name != UNSPECIFIED),
        opener: reset.opener().map(|side| match side {
            Side::Source => ResetEnd::Source,
            Side::Destination => ResetEnd::Destination,
        }),
        source_state: reset.sender.as_deref().and_then(state),
        destination_state: reset.receiver.as_deref().and_then(state),
        age_ms: age_ns.map(|age| age as f64 / 1e6),
        tcp_flags: packet.map(|packet| flag_names(packet.tcp_flags)),
        hop_limit: packet.map(|packet| packet.hop_limit),
    }
}

/// What is told of resets that were counted.
pub fn coalesced(refused: bool) -> ResetDetail {
    ResetDetail {
        cause: if refused { ResetCause::Refused } else { ResetCause::Unknown },
        reason: None,
        hook: None,
        opener: refused.then_some(ResetEnd::Destination),
        source_state: None,
        destination_state: None,
        age_ms: None,
        tcp_flags: None,
        hop_limit: None,
    }
}

/// What is told of a flood. The publisher, which follows the wall clock, fills `since`.
pub fn flood(flood: &Flood) -> FloodDetail {
    FloodDetail {
        phase: flood.phase,
        end_cause: flood.end_cause,
        since: String::new(),
        since_boot_ns: flood.since_ns,
        duration_seconds: flood.duration_ns as f64 / 1e9,
        packets: flood.packets,
        rate_per_second: flood.rate,
        baseline_per_second: flood.baseline,
        threshold_per_second: flood.threshold,
        destinations: flood.destinations,
        packets_to_destination: flood.to_main,
    }
}
