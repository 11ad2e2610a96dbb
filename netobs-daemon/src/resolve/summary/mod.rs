//! The sentence for people.

mod dns;
mod drops;
mod flood;
mod mtu;
mod reset;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::event::observation::{Endpoint, Kind, Observation, ResetCause};

/// One plain sentence that says what happened to whom.
pub fn of(observation: &Observation) -> String {
    let mut text = String::with_capacity(160);
    // Writing to a `String` does not fail.
    let _ = if observation.coalesced { coalesced(&mut text, observation) } else { whole(&mut text, observation) };
    text
}

fn whole(text: &mut String, observation: &Observation) -> std::fmt::Result {
    let Observation { kind, drop, dns, mtu, reset, flood, .. } = observation;
    match kind {
        Kind::Drop => drop.as_ref().map(|drop| drops::dropped(text, observation, drop)),
        Kind::Dns => dns.as_ref().map(|dns| dns::asked(text, observation, dns)),
        Kind::Mtu => mtu.as_ref().map(|mtu| mtu::failed(text, observation, mtu)),
        Kind::Reset => reset.as_ref().map(|reset| reset::reset(text, observation, reset)),
        Kind::Flood => flood.as_ref().map(|flood| flood::flood(text, observation, flood)),
    }
    .unwrap_or(Ok(()))
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

/// The Service that was asked for, in parentheses.
fn service(text: &mut String, observation: &Observation) -> std::fmt::Result {
    match observation.nat.as_ref().and_then(|nat| nat.service.as_ref()) {
        Some(service) => write!(text, " (service {}/{})", service.namespace, service.name),
        None => Ok(()),
    }
}

/// An end and its port; a bare IPv6 address needs brackets then.
fn with_port(end: String, ip: Option<IpAddr>, port: Option<u16>) -> String {
    match (ip, port) {
        (Some(ip), Some(port)) if end == ip.to_string() => SocketAddr::new(ip, port).to_string(),
        (_, Some(port)) => format!("{end}:{port}"),
        (_, None) => end,
    }
}

/// The sender, by name else by address.
fn source(observation: &Observation) -> String {
    end(observation.source.as_ref(), observation.flow.as_ref().and_then(|flow| flow.source_ip))
}

/// The receiver, likewise.
fn destination(observation: &Observation) -> String {
    end(observation.destination.as_ref(), observation.flow.as_ref().and_then(|flow| flow.destination_ip))
}

/// Both ends, the port where there is one, and the protocol.
fn ends(text: &mut String, observation: &Observation) -> std::fmt::Result {
    let flow = observation.flow.as_ref();
    let (source, destination) = (source(observation), destination(observation));
    write!(text, "{source} -> ")?;
    text.push_str(&with_port(destination, flow.and_then(|f| f.destination_ip), flow.and_then(|f| f.destination_port)));
    service(text, observation)?;
    match flow {
        Some(flow) if flow.protocol.starts_with(|c: char| c.is_ascii_digit()) => {
            write!(text, " IP protocol {}", flow.protocol)
        }
        Some(flow) => write!(text, " {}", flow.protocol),
        None => Ok(()),
    }
}

fn coalesced(text: &mut String, observation: &Observation) -> std::fmt::Result {
    text.push_str(match observation.kind {
        Kind::Dns => "dns: ",
        Kind::Mtu => "mtu: ",
        Kind::Reset => "reset: ",
        Kind::Drop | Kind::Flood => "",
    });
    ends(text, observation)?;
    if let Some(drop) = &observation.drop {
        write!(text, ": dropped, {}", drop.reason)?;
        if drop.answered {
            text.push_str(drops::ANSWERED);
        }
    }
    if let Some(mtu) = observation.mtu.as_ref().filter(|_| observation.drop.is_none()) {
        write!(text, ": {}", mtu::icmp_name(mtu.cause))?;
    }
    if observation.reset.as_ref().is_some_and(|reset| reset.cause == ResetCause::Refused) {
        text.push_str(": connections refused");
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
