//! DNS: a real server (Knot DNS) with the cluster's names in a pod, and dig as a client.
//!
//! Zones: `cluster.local` with an A and an AAAA record per service of the node and what the test adds; the root zone,
//! so that any other name is NXDOMAIN; `broken.test`, whose file is missing: SERVFAIL. A server that never answers is
//! [`Place::udp_silent`] on port 53.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::node::Node;
use crate::place::Place;
use crate::pod::Pod;
use crate::process::Process;

const PORT: u16 = 53;

/// A running Knot DNS in a pod; killed on drop.
#[derive(Debug)]
pub struct DnsServer {
    process: Process,
    directory: PathBuf,
    records: String,
    serial: u32,
}

impl DnsServer {
    /// Starts it on port 53 of all the pod's addresses and waits until it answers. `records` are further lines of the
    /// zone `cluster.local` (RFC 1035 section 5): `large 5 TXT "…"`.
    pub fn start(node: &Node, pod: &Pod, records: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = node.directory().join(format!("knot-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let at = directory.display();
        let config = format!(
            "server:\n  rundir: {at}\n  listen: [ 0.0.0.0@{PORT}, ::@{PORT} ]\n  udp-workers: 1\n  tcp-workers: 1\n  \
             background-workers: 1\n\
             log:\n  - target: stderr\n    any: warning\n\
             database:\n  storage: {at}/db\n\
             template:\n  - id: default\n    storage: {at}\n    zonefile-load: whole\n    zonefile-sync: -1\n    \
             journal-content: none\n\
             zone:\n  - domain: .\n    file: root.zone\n  - domain: cluster.local\n    file: cluster.zone\n  \
             - domain: broken.test\n    file: missing.zone\n"
        );
        let file = directory.join("knot.conf");
        fs::write(&file, config)?;
        fs::write(directory.join("root.zone"), zone(1, ""))?;
        fs::write(directory.join("cluster.zone"), zone(1, &(services(node) + records)))?;
        let log = fs::File::create(directory.join("log"))?;
        let mut command = pod.command("knotd");
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = pod.spawn(&mut command).context("starting knotd (apt-get install knot)")?;
        let mut server = Self { process, directory, records: records.to_owned(), serial: 1 };
        server.wait(pod)?;
        Ok(server)
    }

    /// Takes over the node's services as they are now.
    pub fn update(&mut self, node: &Node) -> Result<()> {
        self.serial += 1;
        fs::write(self.directory.join("cluster.zone"), zone(self.serial, &(services(node) + &self.records)))?;
        // knotd reloads its configuration and changed zone files on SIGHUP.
        self.process.signal(Signal::HUP)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn wait(&mut self, pod: &Pod) -> Result<()> {
        let end = Instant::now() + crate::slow::patience(Duration::from_secs(10));
        // Asking before the port is bound would make the kernel drop the question, which tests would see.
        while !pod.run(|| is_bound(&fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default()))? {
            if self.process.ended()?.is_some() || Instant::now() > end {
                bail!("knotd does not listen; its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let socket = pod.udp_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        while !answers(&socket)? {
            ensure!(Instant::now() < end, "knotd does not answer; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Whether the question for the SOA of `cluster.local` is answered with NOERROR (the zone is loaded).
fn answers(socket: &UdpSocket) -> Result<bool> {
    // RFC 1035 section 4.1: id, flags (none), one question; name, type SOA, class IN.
    const QUESTION: &[u8] = b"\x4e\x4f\0\0\0\x01\0\0\0\0\0\0\x07cluster\x05local\0\0\x06\0\x01";
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, PORT).into();
    socket.send_to(QUESTION, to).context("asking knotd")?;
    let mut answer = [0; 512];
    // The code of the answer is in the lower half of the fourth byte.
    Ok(match socket.recv(&mut answer) {
        Ok(length) => length >= 12 && answer[..2] == QUESTION[..2] && answer[3] % 16 == 0,
        Err(_) => false,
    })
}

/// Whether a table in the form of `/proc/net/udp` has a socket on port 53.
fn is_bound(table: &str) -> bool {
    table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(":0035")))
}

fn zone(serial: u32, records: &str) -> String {
    format!(
        "@ 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5\n\
         @ 5 NS ns.dns.cluster.local.\n{records}\n"
    )
}

fn services(node: &Node) -> String {
    let mut lines = String::new();
    for service in node.services() {
        for ip in service.cluster_ips() {
            let kind = if ip.is_ipv4() { "A" } else { "AAAA" };
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{}.{}.svc 5 {kind} {ip}", service.name, service.namespace);
        }
    }
    lines
}

/// What dig got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigAnswer {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, …; none if no answer came.
    pub status: Option<String>,
    /// Id of the message.
    pub id: Option<u16>,
    /// Data of the answer section, one record each.
    pub answers: Vec<String>,
    /// All that dig printed.
    pub text: String,
}

impl Place {
    /// Asks a DNS server once with `dig` and waits a second for the answer. `options` as dig takes them (`+tcp`).
    pub fn dig(
        &self,
        server: impl Into<std::net::IpAddr>,
        name: &str,
        kind: &str,
        options: &[&str],
    ) -> Result<DigAnswer> {
        let at = format!("@{}", server.into());
        let mut command = vec!["dig", &at, "+tries=1", "+time=1", "+noedns", "-q", name, "-t", kind];
        command.extend(options);
        Ok(parse_dig(&self.exec(&command)?.stdout))
    }
}

fn parse_dig(text: &str) -> DigAnswer {
    let header = text.lines().find(|line| line.starts_with(";; ->>HEADER<<-"));
    let field = |name: &str| {
        let (_, rest) = header?.split_once(&format!("{name}: "))?;
        rest.split([',', ' ']).next().map(str::to_owned)
    };
    let answers = text
        .lines()
        .skip_while(|line| !line.starts_with(";; ANSWER SECTION"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().nth(4).map(str::to_owned))
        .collect();
    DigAnswer { status: field("status"), id: field("id").and_then(|id| id.parse().ok()), answers, text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digs_output_is_understood() {
        let text = ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711\n\
                    ;; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0\n\n\
                    ;; ANSWER SECTION:\nweb.shop.svc.cluster.local. 5 IN\tA\t10.64.255.20\n\n;; Query time: 0 msec\n";
        let answer = parse_dig(text);
        assert_eq!((answer.status.as_deref(), answer.id), (Some("NOERROR"), Some(4711)));
        assert_eq!(answer.answers, ["10.64.255.20"]);
        assert_eq!(parse_dig(";; connection timed out; no servers could be reached\n").status, None);
    }

    #[test]
    fn a_bound_port_is_seen() {
        let table = "  sl  local_address rem_address\n  1: 00000000:0035 00000000:0000 07\n";
        assert!(is_bound(table));
        assert!(!is_bound(&table.replace("0035", "1035")));
    }
}
