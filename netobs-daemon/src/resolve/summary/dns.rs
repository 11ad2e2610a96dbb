//! A DNS question.

use std::fmt::Write;

use super::end;
use crate::event::observation::{DnsDetail, DnsOutcome, Observation};

/// What became of it.
pub fn asked(text: &mut String, observation: &Observation, dns: &DnsDetail) -> std::fmt::Result {
    let flow = observation.flow.as_ref();
    let client = end(observation.source.as_ref(), flow.and_then(|f| f.source_ip));
    let mut server = end(observation.destination.as_ref(), flow.and_then(|f| f.destination_ip));
    if let Some(service) = observation.nat.as_ref().and_then(|nat| nat.service.as_ref()) {
        let pod = observation.destination.as_ref().and_then(|d| d.pod.as_ref());
        let backend = pod.map_or(server, |pod| pod.name.clone());
        server = format!("{}/{} ({backend})", service.namespace, service.name);
    }
    // Without the final dot, which reads as the end of a sentence; the root is nothing but the dot.
    let short = |name: &str| name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name).to_owned();
    let name = dns.name.as_deref().map_or_else(|| "an unknown name".to_owned(), short);
    let qtype = dns.qtype.as_deref().unwrap_or_default();
    let rcode = dns.rcode.as_deref().unwrap_or_default();
    let space = if qtype.is_empty() { "" } else { " " };
    if dns.outcome == DnsOutcome::Unasked {
        return write!(text, "dns: {server} answered {client} for {qtype}{space}{name}: {rcode}, to no known question");
    }
    write!(text, "dns: {client} asked {server} for {qtype}{space}{name}: ")?;
    match (dns.outcome, dns.answers.unwrap_or_default()) {
        (DnsOutcome::Answered, 1) => text.push_str("1 answer"),
        (DnsOutcome::Answered, answers) => write!(text, "{answers} answers")?,
        (DnsOutcome::Empty, _) => text.push_str("no records of this type"),
        (DnsOutcome::Truncated, _) => text.push_str("truncated answer"),
        (DnsOutcome::Failed | DnsOutcome::Unasked, _) => text.push_str(rcode),
        (DnsOutcome::Unanswered, _) => text.push_str("no answer"),
    }
    if let Some(latency) = dns.latency_ms {
        write!(text, " in {latency:.1} ms")?;
    }
    if let Some(waited) = dns.waited_ms {
        write!(text, " after {:.1} s", waited / 1e3)?;
    }
    if let Some(attempts) = dns.attempts {
        write!(text, ", asked {attempts} times")?;
    }
    Ok(())
}
