//! What kind of event it is, and whether something failed.

use super::Sources;
use super::late::{LISTEN_OVERFLOW, Segment, is_late};
use super::routine::{is_routine, is_routine_reset};
use super::sizes::FORWARDING;
use crate::event::headers::protocol::TCP;
use crate::event::joined::{Coalesced, Joined, JoinedKind};
use crate::event::observation::{DnsOutcome, Endpoint, Kind, Severity};
use crate::event::tcp::segment;

/// The kind that users filter by.
pub fn kind(joined: &Joined, reason: Option<&str>) -> Kind {
    match &joined.kind {
        JoinedKind::Coalesced(Coalesced::Drops { .. }) if reason == Some(FORWARDING) => Kind::Mtu,
        JoinedKind::Drop(_) | JoinedKind::Coalesced(Coalesced::Drops { .. }) => Kind::Drop,
        JoinedKind::Dns(_) | JoinedKind::Coalesced(Coalesced::Dns { .. }) => Kind::Dns,
        JoinedKind::Mtu(_) | JoinedKind::Coalesced(Coalesced::Icmp { .. }) => Kind::Mtu,
        JoinedKind::Reset(_) | JoinedKind::Coalesced(Coalesced::Resets { .. }) => Kind::Reset,
        JoinedKind::Flood(_) => Kind::Flood,
    }
}

/// A cut DNS answer is no failure: the client asks again over TCP. What a coalesced DNS message said is not known. So many
/// resets that they are counted are no healthy traffic, whatever each of them means; and the end of a flood is for who was
/// told of its onset.
pub fn severity(joined: &Joined, reason: Option<&str>, destination: &Endpoint, sources: &Sources<'_>) -> Severity {
    let info = match &joined.kind {
        JoinedKind::Drop(_) | JoinedKind::Coalesced(Coalesced::Drops { .. }) => {
            joined.answered
                || late(joined, reason.unwrap_or_default(), sources)
                || is_routine(reason.unwrap_or_default(), joined.destination(), joined.protocol())
        }
        JoinedKind::Coalesced(Coalesced::Dns { .. }) => true,
        JoinedKind::Dns(exchange) => match exchange.outcome {
            DnsOutcome::Answered | DnsOutcome::Empty | DnsOutcome::Truncated => true,
            DnsOutcome::Unasked => exchange.rcode == Some(0),
            DnsOutcome::Failed | DnsOutcome::Unanswered => false,
        },
        JoinedKind::Reset(reset) => is_routine_reset(reset, is_here(destination, sources)),
        JoinedKind::Mtu(_)
        | JoinedKind::Flood(_)
        | JoinedKind::Coalesced(Coalesced::Icmp { .. } | Coalesced::Resets { .. }) => false,
    };
    if info { Severity::Info } else { Severity::Problem }
}

/// Whether it is the drop of a segment that came when its connection needed it no more.
fn late(joined: &Joined, reason: &str, sources: &Sources<'_>) -> bool {
    let (class, location) = match &joined.kind {
        JoinedKind::Drop(drop) if joined.protocol() == Some(TCP) => (drop.tcp_flags.map(segment::of), drop.location),
        JoinedKind::Coalesced(Coalesced::Drops { segment, location, .. }) => (Some(*segment), *location),
        _ => return false,
    };
    let Some(class) = class else { return false };
    let location = sources.naming.symbol(location);
    let port = joined.tuple.and_then(|tuple| tuple.destination_port);
    let tells_overflow = sources.naming.has_drop_reason(LISTEN_OVERFLOW);
    is_late(&Segment { reason, class, location: location.as_deref(), tells_overflow, port })
}

/// Whether an end is on this node: the node itself, or a pod of it.
fn is_here(endpoint: &Endpoint, sources: &Sources<'_>) -> bool {
    let node = endpoint.node.as_deref().or(endpoint.pod.as_ref().and_then(|pod| pod.node.as_deref()));
    node == Some(sources.node)
}
