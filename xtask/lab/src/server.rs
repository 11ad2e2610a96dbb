//! Small servers in a place: threads of the lab's process with sockets of the place. They end when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place::Place;

/// How often a server looks whether it shall end.
const TICK: Duration = Duration::from_millis(50);
/// Most bytes a connection may echo at once.
const BUFFER: usize = 16 * 1024;

/// What a server's thread does until the flag is set.
type Worker = Box<dyn FnOnce(&AtomicBool) + Send>;

/// A server; ends when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(workers: Vec<Worker>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = workers
            .into_iter()
            .map(|work| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || work(&stop))
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn both(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

impl Place {
    /// A TCP server on this port of all addresses, IPv4 and IPv6, that sends back what it gets.
    pub fn tcp_echo(&self, port: u16) -> Result<Server> {
        let mut workers: Vec<Worker> = Vec::new();
        for address in both(port) {
            let listener = self.tcp_listener(address).with_context(|| format!("listening on tcp {address}"))?;
            workers.push(Box::new(move |stop| serve_tcp(&listener, stop)));
        }
        Ok(Server::start(workers))
    }

    /// A UDP server on this port, IPv4 and IPv6, that sends back what it gets.
    pub fn udp_echo(&self, port: u16) -> Result<Server> {
        self.udp_server(port, true)
    }

    /// A UDP server on this port, IPv4 and IPv6, that takes everything and never answers.
    pub fn udp_silent(&self, port: u16) -> Result<Server> {
        self.udp_server(port, false)
    }

    fn udp_server(&self, port: u16, answer: bool) -> Result<Server> {
        let mut workers: Vec<Worker> = Vec::new();
        for address in both(port) {
            let socket = self.udp_socket(address).with_context(|| format!("binding udp {address}"))?;
            workers.push(Box::new(move |stop| serve_udp(&socket, stop, answer)));
        }
        Ok(Server::start(workers))
    }
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        while !stop.load(Ordering::Acquire) {
            if readable(listener)
                && let Ok((stream, _)) = listener.accept()
            {
                scope.spawn(move || echo(stream, stop));
            }
        }
    });
}

fn echo(mut stream: TcpStream, stop: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    while !stop.load(Ordering::Acquire) {
        if !readable(&stream) {
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    }
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool, answer: bool) {
    let mut buffer = vec![0; BUFFER];
    while !stop.load(Ordering::Acquire) {
        if readable(socket)
            && let Ok((count, from)) = socket.recv_from(&mut buffer)
            && answer
        {
            // One that cannot be answered is the sender's loss, as with any UDP server.
            let _ = socket.send_to(&buffer[..count], from);
        }
    }
}

/// Waits for something to read, a tick at most.
fn readable(socket: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&tick)).is_ok_and(|count| count > 0)
}
