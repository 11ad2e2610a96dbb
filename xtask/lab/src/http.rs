//! A blocking HTTP client for tests: over a unix socket or a TCP socket of a place; whole answers, or lines as they
//! arrive with their arrival times.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::slow::patience;

/// How long a whole answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// Longest line of a stream.
const LINE_LIMIT: usize = 16 << 20;
/// How many lines wait for the test unless said otherwise.
const LINES: usize = 65_536;

enum Socket {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream),
}

type Connect = dyn Fn() -> io::Result<Socket> + Send + Sync;

/// An HTTP/1.1 client that makes a connection per request.
#[derive(Clone)]
pub struct Client {
    connect: Arc<Connect>,
    host: String,
    headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// One line of a stream, without its end.
#[derive(Clone, Debug)]
pub struct Line {
    /// When its end arrived.
    pub at: Instant,
    /// Its text.
    pub text: String,
}

impl Line {
    /// The line as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.text).with_context(|| format!("not JSON: {}", self.text))
    }
}

impl Client {
    /// Over a unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let connect = move || std::os::unix::net::UnixStream::connect(&path).map(Socket::Unix);
        Self { connect: Arc::new(connect), host: "localhost".into(), headers: Vec::new() }
    }

    /// Over TCP from the caller's own network namespace.
    pub fn tcp(address: SocketAddr) -> Self {
        let connect = move || std::net::TcpStream::connect(address).map(Socket::Tcp);
        Self { connect: Arc::new(connect), host: address.to_string(), headers: Vec::new() }
    }

    /// Over TCP from inside a place. The client holds the namespace; its sockets carry the caller's own cgroup.
    pub fn tcp_in(place: &Place, address: SocketAddr) -> Self {
        let namespace = place.netns().file();
        let connect = move || {
            std::thread::scope(|scope| {
                let inside = || {
                    crate::netns::enter(std::os::fd::AsFd::as_fd(&namespace))?;
                    std::net::TcpStream::connect(address).map(Socket::Tcp)
                };
                scope.spawn(inside).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        };
        Self { connect: Arc::new(connect), host: address.to_string(), headers: Vec::new() }
    }

    /// Sends this header with each request; `host` replaces the one that follows from the address.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            value.clone_into(&mut self.host);
        } else {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// GETs a path (with its query), whatever the status.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.request("GET", path)
    }

    /// GETs a path and takes the answer as JSON; a status other than 2xx is an error.
    pub fn get_json(&self, path: &str) -> Result<serde_json::Value> {
        let answer = self.get(path)?;
        ensure!(answer.status.is_success(), "GET {path}: {}: {}", answer.status, answer.text());
        answer.json()
    }

    /// Any method without a body.
    pub fn request(&self, method: &str, path: &str) -> Result<Answer> {
        let whole = async {
            let (response, _connection) = self.send(method, path).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.with_context(|| format!("the body of {path}"))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        runtime()?.block_on(async {
            tokio::time::timeout(patience(ANSWER_DEADLINE), whole)
                .await
                .unwrap_or_else(|_| bail!("no answer to {method} {path} within {ANSWER_DEADLINE:?}"))
        })
    }

    /// GETs a path whose answer is a stream of lines. Returns once the headers are there; a status other than 2xx is
    /// an error.
    pub fn stream(&self, path: &str) -> Result<Lines> {
        self.stream_bounded(path, LINES)
    }

    /// [`Client::stream`] that stops reading from the socket while this many lines wait to be taken.
    pub fn stream_bounded(&self, path: &str, waiting: usize) -> Result<Lines> {
        let (client, path) = (self.clone(), path.to_owned());
        let (sender, lines) = sync_channel(waiting);
        let (started, start) = sync_channel(1);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::Builder::new().name("lab-http-stream".into()).spawn(move || {
            let work = async {
                let (response, _connection) = match client.open(&path).await {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
                let _ = started.send(Ok(()));
                pump(response.into_body(), &sender).await;
            };
            if let Ok(runtime) = runtime() {
                runtime.block_on(token.run_until_cancelled(work));
            }
        })?;
        let opened = start.recv_timeout(patience(ANSWER_DEADLINE));
        let lines = Lines { receiver: Some(lines), stop, thread: Some(thread) };
        opened.context("no headers in time")??;
        Ok(lines)
    }

    async fn open(&self, path: &str) -> Result<(Response<Incoming>, Guard)> {
        let (response, connection) = self.send("GET", path).await?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("GET {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok((response, connection))
    }

    async fn send(&self, method: &str, path: &str) -> Result<(Response<Incoming>, Guard)> {
        let socket = (self.connect)().with_context(|| format!("connecting to {}", self.host))?;
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        match socket {
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                exchange(tokio::net::UnixStream::from_std(socket)?, request).await
            }
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                exchange(tokio::net::TcpStream::from_std(socket)?, request).await
            }
        }
    }
}

/// Ends the task that drives a connection when dropped.
struct Guard(tokio::task::JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<(Response<Incoming>, Guard)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let guard = Guard(tokio::spawn(async move {
        // An error of the connection shows at the request or the body as well.
        let _ = connection.await;
    }));
    Ok((sender.send_request(request).await?, guard))
}

/// Cuts a body into lines. Blocks the whole (single-threaded) runtime while the channel is full, and with it the
/// reading from the socket: that is what a client that has stopped reading looks like from the other side.
async fn pump(mut body: Incoming, lines: &SyncSender<Line>) {
    let mut rest = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let at = Instant::now();
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned();
            if lines.send(Line { at, text }).is_err() {
                return;
            }
        }
        if rest.len() > LINE_LIMIT {
            return;
        }
    }
}

/// Lines as they arrive. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lines {
    receiver: Option<Receiver<Line>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    /// The next line; none if there is none within the time, or the stream has ended.
    pub fn next(&self, within: Duration) -> Option<Line> {
        self.line_until(Instant::now() + patience(within))
    }

    fn line_until(&self, end: Instant) -> Option<Line> {
        self.receiver.as_ref()?.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }

    /// Whether the other side has ended the stream and all lines have been taken. Takes and loses a line otherwise
    /// waiting, so ask only when none is expected.
    pub fn ended(&self, within: Duration) -> bool {
        matches!(
            self.receiver.as_ref().map(|receiver| receiver.recv_timeout(patience(within))),
            Some(Err(RecvTimeoutError::Disconnected))
        )
    }

    /// The first JSON line that fits, with all those before it; waits up to the time in total.
    pub fn find(
        &self,
        within: Duration,
        fits: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<(Line, serde_json::Value)> {
        let end = Instant::now() + patience(within);
        let mut passed = Vec::new();
        while let Some(line) = self.line_until(end) {
            if let Ok(value) = line.json()
                && fits(&value)
            {
                return Ok((line, value));
            }
            passed.push(line.text);
        }
        bail!("no line that fits within {within:?}; there were {}:\n{}", passed.len(), passed.join("\n"))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The receiver first: the thread may be blocked on a full channel.
        self.receiver = None;
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
