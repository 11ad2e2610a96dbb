//! What a storm is made of, and how each observer is told to look for it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::arm::Arm;
use crate::bench::clocks::thread_cpu;
use crate::bench::scene::{DROPPED, Scene, flood};
use crate::packet::{self, RST, Segment};
use crate::{Pod, PodSpec, RawSender};

/// The port that the packets go to.
pub const PORT: u16 = *DROPPED.start();
/// How often a paced sender looks at the clock.
const BEAT: Duration = Duration::from_millis(1);

/// What the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// UDP datagrams that the node drops when they leave it.
    Drops,
    /// TCP resets from one pod to another, which knows no such connection.
    Resets,
}

/// A lab with somebody who sends.
#[derive(Debug)]
pub struct Target {
    /// What the packets are.
    pub load: Load,
    /// The node and the sender.
    pub scene: Scene,
    receiver: Option<Arc<Pod>>,
}

/// Who sends.
enum Sender {
    Datagrams(UdpSocket),
    Raw(RawSender, Vec<Vec<u8>>),
}

/// A sender, ready.
pub struct Source(Sender);

impl Target {
    /// Builds it.
    pub fn new(load: Load) -> Result<Self> {
        let scene = Scene::new()?;
        let receiver = match load {
            Load::Drops => None,
            Load::Resets => Some(scene.node.add_pod(PodSpec::new("bench", "receiver").deployment("receiver"))?),
        };
        Ok(Self { load, scene, receiver })
    }

    /// Where the packets go.
    fn to(&self) -> SocketAddr {
        self.receiver.as_ref().map_or_else(|| self.scene.outside(PORT), |receiver| receiver.at(PORT))
    }

    /// Opens a socket of the sender.
    pub fn source(&self) -> Result<Source> {
        let to = self.to();
        Ok(Source(match self.load {
            Load::Drops => {
                let socket = self.scene.socket()?;
                socket.connect(to)?;
                Sender::Datagrams(socket)
            }
            Load::Resets => {
                let packets = (0..64_u32).map(|number| {
                    let from = self.scene.sender.at(40_000 + number as u16);
                    packet::tcp(from, to, Segment { sequence: 1 + number * 1000, acknowledgment: 0, flags: RST })
                });
                let packets = packets.collect::<Option<_>>().context("packets of one family")?;
                Sender::Raw(self.scene.sender.raw_sender(to)?, packets)
            }
        }))
    }

    /// By this text of its line an event of netobs is about the storm. Sums of resets have no ports.
    pub fn mark(&self) -> String {
        match self.load {
            Load::Drops => format!("\"destination_port\":{PORT}"),
            Load::Resets => format!("\"source_ip\":\"{}\"", self.scene.sender.ipv4()),
        }
    }

    /// tcpdump's expression, on the sender's interface.
    pub fn expression(&self) -> String {
        match self.load {
            Load::Drops => format!("udp and dst port {PORT}"),
            Load::Resets => "tcp[tcpflags] & tcp-rst != 0".to_owned(),
        }
    }
}

impl Load {
    /// Name of the bench.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drops => "storm drop",
            Self::Resets => "storm rst",
        }
    }

    /// Kind of its events, and name of its family in the ledger.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Drops => "drop",
            Self::Resets => "reset",
        }
    }

    /// Who is measured.
    pub const fn arms(self) -> &'static [Arm] {
        match self {
            Self::Drops => &Arm::ALL,
            Self::Resets => &[Arm::Nobody, Arm::Netobs, Arm::Bpftrace, Arm::Tcpdump, Arm::NobodyAgain],
        }
    }
}

impl Source {
    /// Sends so many packets, at this rate per second or as fast as it goes, in the calling thread; returns its CPU time.
    pub fn send(&self, packets: u64, rate: Option<u64>) -> Result<Duration> {
        let Some(rate) = rate else { return self.at_once(packets) };
        let before = thread_cpu();
        let begin = Instant::now();
        let mut sent = 0;
        while sent < packets {
            // As many as are due by the end of this beat.
            let due = (begin.elapsed() + BEAT).as_nanos() * u128::from(rate) / 1_000_000_000;
            let due = u64::try_from(due).unwrap_or(packets).min(packets);
            self.at_once(due - sent)?;
            sent = due;
            std::thread::sleep(BEAT);
        }
        Ok(thread_cpu().saturating_sub(before))
    }

    fn at_once(&self, packets: u64) -> Result<Duration> {
        match &self.0 {
            Sender::Datagrams(socket) => flood(socket, packets),
            Sender::Raw(sender, each) => {
                let before = thread_cpu();
                sender.flood(each, packets).context("sending resets")?;
                Ok(thread_cpu().saturating_sub(before))
            }
        }
    }
}
