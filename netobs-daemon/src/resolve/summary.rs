//! The sentence for people.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::event::observation::{DnsDetail, DnsOutcome, DropDetail, Endpoint, Kind, Observation};

/// One plain sentence that says what happened to whom.
pub fn of(observation: &Observation) -> String {
    let mut text = String::with_capacity(160);
    // Writing to a `String` does not fail.
    let _ = match (&observation.drop, &observation.dns) {
        _ if observation.coalesced => coalesced(&mut text, observation),
        (Some(drop), _) => dropped(&mut text, observation, drop),
        (None, Some(dns)) => asked(&mut text, observation, dns),
        (None, None) => Ok(()),
    };
    text
}

/// An end by its name, else its address.
fn end(endpoint: Option<&Endpoint>, ip: Option<IpAddr>) -> String {
    let named = endpoint.and_then(|endpoint| {
        let pod = endpoint.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
        let service = endpoint.service.as_ref().map(|s| format!("service {}/{}", s.namespace, s.name));
        pod.or(service).or_else(|| endpoint.node.as_ref().map(|node| format!("node {node}")))
    });
    named.or_else(|| ip.map(|ip| ip.to_string())).unwrap_or_else(|| "unknown".to_owned())
}

/// Both ends, the port where there is one, and the protocol.
fn ends(text: &mut String, observation: &Observation) -> std::fmt::Result {
    let flow = observation.flow.as_ref();
    let source = end(observation.source.as_ref(), flow.map(|f| f.source_ip));
    let destination = end(observation.destination.as_ref(), flow.map(|f| f.destination_ip));
    write!(text, "{source} -> ")?;
    match flow.and_then(|f| Some((f.destination_ip, f.destination_port?))) {
        Some((ip, port)) if destination == ip.to_string() => write!(text, "{}", SocketAddr::new(ip, port))?,
        Some((_, port)) => write!(text, "{destination}:{port}")?,
        None => text.push_str(&destination),
    }
    if let Some(service) = observation.nat.as_ref().and_then(|nat| nat.service.as_ref()) {
        write!(text, " (service {}/{})", service.namespace, service.name)?;
    }
    match flow {
        Some(flow) if flow.protocol.starts_with(|c: char| c.is_ascii_digit()) => {
            write!(text, " IP protocol {}", flow.protocol)
        }
        Some(flow) => write!(text, " {}", flow.protocol),
        None => Ok(()),
    }
}

fn dropped(text: &mut String, observation: &Observation, drop: &DropDetail) -> std::fmt::Result {
    ends(text, observation)?;
    if let Some(flags) = drop.tcp_flags.as_ref().filter(|flags| !flags.is_empty()) {
        write!(text, " {flags}")?;
    }
    match (&drop.hook, drop.reason.as_str()) {
        (Some(hook), _) => write!(text, ": dropped by netfilter in {hook}")?,
        (None, "NETFILTER_DROP") => text.push_str(": dropped by netfilter"),
        (None, reason) => write!(text, ": dropped, {reason}")?,
    }
    if let Some(location) = &drop.location {
        write!(text, " ({location})")?;
    }
    if let Some(interface) = &observation.interface {
        write!(text, " on {interface}")?;
    }
    Ok(())
}

fn asked(text: &mut String, observation: &Observation, dns: &DnsDetail) -> std::fmt::Result {
    let flow = observation.flow.as_ref();
    let client = end(observation.source.as_ref(), flow.map(|f| f.source_ip));
    let mut server = end(observation.destination.as_ref(), flow.map(|f| f.destination_ip));
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

fn coalesced(text: &mut String, observation: &Observation) -> std::fmt::Result {
    if observation.kind == Kind::Dns {
        text.push_str("dns: ");
    }
    ends(text, observation)?;
    if let Some(drop) = &observation.drop {
        write!(text, ": dropped, {}", drop.reason)?;
    }
    let plural = if observation.count == 1 { "" } else { "s" };
    write!(text, ": {} more packet{plural} of this kind, counted", grouped(observation.count))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
