//! Steady load: so many drops and DNS questions a second, until it is dropped.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::probes::FIRST_PORT;
use crate::Pod;
use crate::bench::scene::{DROPPED, Scene};

/// Packets are sent in groups this long apart.
const STEP: Duration = Duration::from_millis(5);
/// No longer than this, whatever happens.
const LIMIT: Duration = Duration::from_mins(10);

/// The running load.
pub struct Background {
    stop: Arc<AtomicBool>,
    threads: [JoinHandle<Result<f64>>; 2],
}

/// What it really sent.
pub struct Rates {
    /// Dropped packets.
    pub drops_per_second: f64,
    /// DNS questions.
    pub questions_per_second: f64,
}

impl Background {
    /// Starts it: drops from the sender to ports of their own, so that they are not coalesced; questions from `crowd`.
    pub fn start(scene: &Scene, crowd: &Pod, server: &Pod, drops: u32, questions: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (dropped, asked) = (scene.socket()?, crowd.udp_socket(([0, 0, 0, 0], 0).into())?);
        asked.connect(server.at(53))?;
        asked.set_nonblocking(true)?;
        let outside = scene.outside(0).ip();
        let ports = DROPPED.start() + 1..FIRST_PORT;
        let mut ports = ports.cycle();
        let mut numbers = (0..=u16::MAX).cycle();
        let threads = [
            spawn(&stop, drops, move || {
                let port = ports.next().unwrap_or(FIRST_PORT - 1);
                dropped.send_to(b"background", (outside, port)).map(drop)
            }),
            spawn(&stop, questions, move || {
                let number = numbers.next().unwrap_or(0);
                read_away(&asked);
                asked.send(&question(number, &format!("b{number}"))).map(drop)
            }),
        ];
        Ok(Self { stop, threads })
    }

    /// Ends it.
    pub fn finish(self) -> Result<Rates> {
        self.stop.store(true, Ordering::Release);
        let [drops, questions] =
            self.threads.map(|thread| thread.join().unwrap_or_else(|_| bail!("a sender panicked")));
        Ok(Rates { drops_per_second: drops?, questions_per_second: questions? })
    }
}

/// Answers are of no interest, but must not fill the socket.
fn read_away(socket: &UdpSocket) {
    let mut answer = [0; 512];
    while socket.recv(&mut answer).is_ok() {}
}

/// Calls `send` so many times a second; returns how many times a second it was.
fn spawn(
    stop: &Arc<AtomicBool>,
    per_second: u32,
    mut send: impl FnMut() -> std::io::Result<()> + Send + 'static,
) -> JoinHandle<Result<f64>> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut count = 0_u64;
        while !stop.load(Ordering::Acquire) && start.elapsed() < LIMIT {
            let due = (start.elapsed().as_secs_f64() * f64::from(per_second)).floor();
            while (count as f64) < due {
                send()?;
                count += 1;
            }
            std::thread::sleep(STEP);
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    })
}

/// A question for the A record of `LABEL.bench.test` (RFC 1035 section 4.1) with this id.
pub fn question(id: u16, label: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // RD; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [label, "bench", "test", ""] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 1, 0, 1]);
    message
}

/// Makes a question its own answer, NXDOMAIN; returns the id. `None` for what is no question with a name.
pub fn turn_into_answer(message: &mut [u8]) -> Option<u16> {
    if message.len() < 14 || message[2] & 0x80 != 0 {
        return None;
    }
    // QR, RD, RA; RCODE 3.
    (message[2], message[3]) = (0x81, 0x83);
    Some(u16::from_be_bytes([message[0], message[1]]))
}
