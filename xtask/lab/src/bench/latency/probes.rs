//! Single packets whose events are waited for by a client that notes when each line arrived.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::background;
use crate::bench::scene::{DROPPED, Scene};
use crate::bench::stats::Sample;
use crate::{Daemon, Lines, Pod};

/// First of the ports that probes go to; the background's end before it.
pub const FIRST_PORT: u16 = 25_000;
/// How long the last event may take.
const PATIENCE: Duration = Duration::from_secs(3);

type Instants = Arc<Mutex<HashMap<u16, Instant>>>;

/// Milliseconds from packet to line.
pub struct Times {
    /// Probes of each kind.
    pub sent: usize,
    /// Of drops.
    pub drops: Sample,
    /// Of DNS exchanges, from their answer.
    pub answers: Sample,
}

/// The client, the sender and the responder.
pub struct Probes {
    client: Arc<Client>,
    reader: Option<JoinHandle<()>>,
    drops: UdpSocket,
    questions: UdpSocket,
    outside: SocketAddr,
    answered: Instants,
    responder: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    next: u16,
}

/// When the first line of each probe arrived.
#[derive(Default)]
struct Client {
    drops: Mutex<HashMap<u16, Instant>>,
    answers: Mutex<HashMap<u16, Instant>>,
}

/// Time before the next probe: longer than the daemon's busy timer, and in step with nothing.
pub fn gap(number: u16) -> Duration {
    Duration::from_millis(30 + u64::from(number) * 37 % 100)
}

impl Probes {
    /// Connects the client and starts the responder on port 53 of `server`.
    pub fn start(scene: &Scene, server: &Pod, daemon: &Daemon) -> Result<Self> {
        let client = Arc::new(Client::default());
        let stop = Arc::new(AtomicBool::new(false));
        let lines = daemon.client().stream("/v1/events/stream")?;
        let reader = std::thread::spawn({
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            move || client.read(&lines, &stop)
        });
        let answered = Instants::default();
        let socket = server.udp_socket(([0, 0, 0, 0], 53).into()).context("port 53 of the responder")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let responder = std::thread::spawn({
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            move || respond(&socket, &answered, &stop)
        });
        let questions = scene.socket()?;
        questions.connect(server.at(53))?;
        Ok(Self {
            client,
            reader: Some(reader),
            drops: scene.socket()?,
            questions,
            outside: scene.outside(0),
            answered,
            responder: Some(responder),
            stop,
            next: 0,
        })
    }

    /// Sends so many of each kind, in turn, and waits for their events.
    pub fn run(&mut self, count: u16) -> Result<Times> {
        let range = self.next..self.next + count;
        self.next = range.end;
        if FIRST_PORT + range.end > *DROPPED.end() {
            bail!("too many probes");
        }
        let mut sent = HashMap::new();
        for number in range.clone() {
            std::thread::sleep(gap(number));
            sent.insert(number, Instant::now());
            self.drops.send_to(b"probe", SocketAddr::new(self.outside.ip(), FIRST_PORT + number))?;
            std::thread::sleep(gap(number.wrapping_mul(7)));
            self.questions.send(&background::question(number, &format!("p{number}")))?;
        }
        let end = Instant::now() + PATIENCE;
        let complete = |seen: &Mutex<HashMap<u16, Instant>>| {
            let seen = lock(seen);
            range.clone().all(|number| seen.contains_key(&number))
        };
        while Instant::now() < end && !(complete(&self.client.drops) && complete(&self.client.answers)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let times = |from: &HashMap<u16, Instant>, to: &Mutex<HashMap<u16, Instant>>| {
            let to = lock(to);
            let both = range.clone().filter_map(|number| Some((from.get(&number)?, to.get(&number)?)));
            Sample::new(both.map(|(sent, at)| at.saturating_duration_since(*sent).as_secs_f64() * 1e3))
        };
        Ok(Times {
            sent: range.len(),
            drops: times(&sent, &self.client.drops),
            answers: times(&lock(&self.answered), &self.client.answers),
        })
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in [self.reader.take(), self.responder.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

impl Client {
    fn read(&self, lines: &Lines, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let Some(line) = lines.next(Duration::from_millis(100)) else { continue };
            if let Some(number) = number_after(&line.text, "\"name\":\"p") {
                lock(&self.answers).entry(number).or_insert(line.at);
            } else if let Some(port) = number_after(&line.text, "\"destination_port\":").filter(|p| *p >= FIRST_PORT) {
                lock(&self.drops).entry(port - FIRST_PORT).or_insert(line.at);
            }
        }
    }
}

/// Answers every question with NXDOMAIN; notes when it did so for probes.
fn respond(socket: &UdpSocket, answered: &Instants, stop: &AtomicBool) {
    let mut message = [0; 512];
    while !stop.load(Ordering::Acquire) {
        let Ok((length, client)) = socket.recv_from(&mut message) else { continue };
        let Some(number) = background::turn_into_answer(&mut message[..length]) else { continue };
        // RFC 1035 section 4.1.2: the name begins behind the 12 bytes of the header, with the length of its first label.
        if message[13] == b'p' {
            lock(answered).insert(number, Instant::now());
        }
        let _ = socket.send_to(&message[..length], client);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The whole number that follows the first occurrence of a key.
fn number_after(line: &str, key: &str) -> Option<u16> {
    let rest = &line[line.find(key)? + key.len()..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
