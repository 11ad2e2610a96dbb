//! A fault: rules that make it, packets that meet it, and how the application sees it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use super::expect::{Expected, Field};
use crate::options::never_fragment;
use crate::{Node, Pod};

/// How long a client waits for its connection: shorter than TCP waits before it repeats its SYN (1 s, RFC 6298), so
/// that each try is one packet.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);

/// Something that goes wrong on a node.
#[derive(Debug)]
pub struct Fault {
    /// Who cannot do what any more, in plain words.
    pub title: String,
    /// What makes it so.
    pub how: String,
    /// Rules that make it so.
    pub rule: Rule,
    /// The packets that meet it.
    pub strike: Strike,
    /// One event per packet.
    pub expected: Vec<Expected>,
    /// Events with all of these fields may come besides.
    pub also: Vec<Vec<Field>>,
    /// How many lines of `netobs observe` are shown, where there are very many of the same; the kind `flood` always is.
    pub lines: Option<usize>,
    /// How long after the packets the events may take: what netobs itself has to wait for, and some.
    pub within: Duration,
}

/// Rules on the node.
#[derive(Debug)]
pub enum Rule {
    /// None: the fault is there from the start.
    None,
    /// A script for nft.
    Nft(String),
    /// Arguments of iptables and of ip6tables.
    Iptables(String, String),
    /// Lines for `ip -batch`.
    Ip(String),
}

/// What a pod does that goes wrong.
#[derive(Debug)]
pub enum Strike {
    /// Connects over TCP, to each address at the same time.
    Connect(Arc<Pod>, Vec<SocketAddr>),
    /// Connects over TCP to ports that refuse.
    Refused(Arc<Pod>, Vec<SocketAddr>),
    /// Connects over TCP to a port that refuses, again and again.
    Hammer(Arc<Pod>, SocketAddr, u64),
    /// Sends a UDP datagram to each address that makes an IP packet of so many bytes, and may not be fragmented.
    Send(Arc<Pod>, Vec<SocketAddr>, u32),
    /// Asks each server for a name with dig, at the same time: the address, the type, and the status that dig gets.
    Ask {
        /// Who asks.
        client: Arc<Pod>,
        /// The name.
        name: String,
        /// Server and type.
        questions: Vec<(IpAddr, &'static str)>,
        /// The status of the answers, none if none comes.
        status: Option<&'static str>,
    },
}

impl Rule {
    /// Makes it so on the node.
    pub fn load(&self, node: &Node) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Nft(script) => node.nft(script),
            Self::Ip(batch) => node.ip(batch),
            Self::Iptables(v4, v6) => node.iptables(v4).and_then(|()| node.ip6tables(v6)),
        }
    }
}

impl Strike {
    /// Sends the packets and tells in what way it went wrong; that it went right is an error.
    pub fn run(&self) -> Result<String> {
        std::thread::scope(|scope| {
            let tries: Vec<_> = match self {
                Self::Connect(client, to) => to.iter().map(|to| scope.spawn(move || connect(client, *to))).collect(),
                Self::Refused(client, to) => to.iter().map(|to| scope.spawn(move || refused(client, *to))).collect(),
                Self::Hammer(client, to, times) => vec![scope.spawn(move || hammer(client, *to, *times))],
                Self::Send(client, to, length) => {
                    to.iter().map(|to| scope.spawn(move || send(client, *to, *length))).collect()
                }
                Self::Ask { client, name, questions, status } => questions
                    .iter()
                    .map(|question| scope.spawn(move || ask(client, name, *question, *status)))
                    .collect(),
            };
            let mut seen = Vec::new();
            for one in tries {
                seen.push(one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            seen.dedup();
            Ok(seen.join("; "))
        })
    }
}

fn connect(client: &Pod, to: SocketAddr) -> Result<String> {
    match client.tcp_connect(to, CONNECT_LIMIT) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            Ok(format!("its connection times out ({} ms here)", CONNECT_LIMIT.as_millis()))
        }
        Err(error) => {
            Err(error).with_context(|| format!("{} -> {to} fails in another way than by a time-out", client.name()))
        }
        Ok(_) => bail!("{} reaches {to}, which it should not", client.name()),
    }
}

fn refused(client: &Pod, to: SocketAddr) -> Result<String> {
    match client.tcp_connect(to, CONNECT_LIMIT) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok("its connection is refused".into()),
        Err(error) => Err(error).with_context(|| format!("{} -> {to} is not refused", client.name())),
        Ok(_) => bail!("{} reaches {to}, which it should not", client.name()),
    }
}

fn hammer(client: &Pod, to: SocketAddr, times: u64) -> Result<String> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // One socket for all: making one takes longer than being refused.
    let socket = client.socket(family, SocketType::STREAM, None)?;
    for _ in 0..times {
        match rustix::net::connect(&socket, &to) {
            Err(Errno::CONNREFUSED) => {}
            other => bail!("{} -> {to}: {other:?} instead of a refusal", client.name()),
        }
    }
    Ok(format!("{times} connections are refused"))
}

fn send(client: &Pod, to: SocketAddr, length: u32) -> Result<String> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = client.udp_socket(any)?;
    socket.connect(to)?;
    never_fragment(&socket, to)?;
    // IP and UDP headers are part of the length.
    let headers = if to.is_ipv4() { 28 } else { 48 };
    socket.send(&vec![0; length as usize - headers]).with_context(|| format!("{} -> {to}", client.name()))?;
    Ok("nothing, its packet was sent".into())
}

fn ask(client: &Pod, name: &str, (server, kind): (IpAddr, &str), status: Option<&str>) -> Result<String> {
    let answer = client.dig(server, name, kind, &[])?;
    match (answer.status.as_deref(), status) {
        (got, expected) if got != expected => {
            bail!("dig @{server} {name} {kind}: {got:?} instead of {expected:?}: {}", answer.text.trim())
        }
        (Some(status), _) => Ok(format!("dig says {status}")),
        (None, _) => Ok("dig gives up after 1 s without an answer".into()),
    }
}
