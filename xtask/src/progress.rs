//! What the user sees while something takes long: one line a step, with its time.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Prints steps and remembers how long each took.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    done: Vec<(String, Duration)>,
}

impl Progress {
    /// Writes to standard error; the line that moves only on a terminal.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), done: Vec::new() }
    }

    /// Runs one step. `live`: the step's own output goes to the terminal, so no line may move under it.
    pub fn step<T>(&mut self, name: &str, live: bool, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let start = Instant::now();
        let spinner = (self.terminal && !live).then(|| Spinner::start(name, start));
        if spinner.is_none() {
            eprintln!("{name} …");
        }
        let result = work();
        let took = start.elapsed();
        drop(spinner);
        let outcome = if result.is_ok() { "ok" } else { "FAILED" };
        eprintln!("{name}: {outcome} ({})", seconds(took));
        if result.is_ok() {
            self.done.push((name.to_owned(), took));
        }
        result
    }

    /// The steps so far.
    pub fn done(&self) -> &[(String, Duration)] {
        &self.done
    }
}

/// A time for people.
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(100) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// A line that shows the time run so far; cleared when dropped.
#[derive(Debug)]
struct Spinner {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    fn start(name: &str, start: Instant) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            for frame in ['⠋', '⠙', '⠸', '⠴', '⠦', '⠇'].iter().cycle() {
                eprint!("\r\x1b[2K{frame} {name} … {}", seconds(start.elapsed()));
                let _ = std::io::stderr().flush();
                if stopped.recv_timeout(Duration::from_millis(120)) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            eprint!("\r\x1b[2K");
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The thread only writes to standard error; if that panicked there is nothing left to clear.
            let _ = thread.join();
        }
    }
}
