//! Packets and rules that cases make: datagrams, floods, DNS questions, rules that drop and count.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{Place, Pod};

/// UDP port that nobody serves and the cases' rules drop.
pub const BLOCKED: u16 = 9999;

/// The pod's IPv4 and IPv6 address with this port.
pub fn both(pod: &Pod, port: u16) -> [SocketAddr; 2] {
    [pod.at(port), pod.at6(port)]
}

/// Sends one datagram. That a rule of the sender's own node forbids it is what some cases are about: no error.
pub fn send(from: &Place, to: SocketAddr) -> Result<()> {
    match from.udp_send(to, b"netobs lab") {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(error).with_context(|| format!("sending to {to}"))
        }
        _ => Ok(()),
    }
}

/// A UDP socket of a place, for any address of the family of `to`, connected to it.
pub fn socket(from: &Place, to: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = from.udp_socket(any)?;
    socket.connect(to)?;
    Ok(socket)
}

/// Sends this many datagrams as fast as it goes, or with a pause after each.
pub fn flood(from: &Place, to: SocketAddr, count: usize, pause: Option<Duration>) -> Result<()> {
    let socket = socket(from, to)?;
    for _ in 0..count {
        // A full queue of the sender's own interface is no loss that a rule would count: once more.
        while socket.send(b"flood").is_err_and(|error| error.kind() != io::ErrorKind::PermissionDenied) {
            std::thread::yield_now();
        }
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

/// Adds an nft chain at this hook and priority whose rule counts and drops what matches.
pub fn forbid(place: &Place, hook: &str, priority: &str, matches: &str) -> Result<()> {
    place.nft(&format!(
        "table inet suite-{hook} {{\n\
           chain {hook} {{\n\
             type filter hook {hook} priority {priority}; policy accept;\n\
             {matches} counter drop comment \"suite\"\n\
           }}\n\
         }}\n"
    ))
}

/// How many packets the rules of [`forbid`] have dropped, by their own counters.
pub fn forbidden(place: &Place) -> Result<u64> {
    let rules = place.nft_ruleset()?;
    let counts = rules.lines().filter(|line| line.contains("comment \"suite\"")).filter_map(|line| {
        let (_, rest) = line.split_once("counter packets ")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok(counts.sum())
}

/// A DNS question (RFC 1035 section 4.1), recursion desired, class IN.
pub fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    for field in [id, 0x0100, 1, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    for field in [kind, 1] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    message
}

/// Sends a question of type A and waits up to two seconds for the answer. The socket's own address, and the answer.
pub fn ask(from: &Place, server: SocketAddr, id: u16, name: &str) -> Result<(SocketAddr, Option<Vec<u8>>)> {
    let socket = socket(from, server)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&question(id, name, 1))?;
    let mut answer = [0; 1500];
    let answer = socket.recv(&mut answer).ok().map(|length| answer[..length].to_vec());
    Ok((socket.local_addr()?, answer))
}
