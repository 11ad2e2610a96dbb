//! Runs one virtual machine and watches what it says until it ends, is in trouble or says nothing any more.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::vm::qemu::{self, Machine};
use crate::vm::verdict::{self, End};
use crate::workspace::Workspace;

/// How often its logs are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How long a kernel in trouble may go on, to say where.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a machine whose command has ended may take to power off.
const POWER_OFF: Duration = Duration::from_secs(30);
/// Most of a log that is kept in memory.
const MOST: usize = 16 * 1024 * 1024;

/// How long a machine may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a word.
    pub silence: Duration,
    /// Altogether.
    pub whole: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// The kernel's console.
    pub console: String,
    /// The command's output with the guest's own lines.
    pub output: String,
    /// From qemu's start to its end.
    pub took: Duration,
}

/// qemu; ends with us, however we end.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it. `show` is given each complete line of the command's output as it comes.
pub fn run(workspace: &Workspace, machine: &Machine, limits: Limits, mut show: impl FnMut(&str)) -> Result<Ran> {
    // Logs of an earlier run.
    for log in [&machine.console, &machine.output] {
        let _ = fs::remove_file(log);
    }
    let errors = File::create(machine.console.with_extension("qemu"))?;
    let start = Instant::now();
    let child = Command::new(qemu::PROGRAM)
        .args(qemu::arguments(machine))
        .env("PATH", workspace.path()?)
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stdout(errors.try_clone()?)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("could not start {}", qemu::PROGRAM))?;
    let mut emulator = Emulator(child);
    let (mut console, mut output) = (Log::default(), Log::default());
    let (mut heard, mut shown, mut last_words) = (start, 0, None);
    let end = loop {
        std::thread::sleep(TICK);
        let ended = emulator.0.try_wait()?.is_some();
        if console.read(&machine.console)? | output.read(&machine.output)? {
            heard = Instant::now();
        }
        for line in output.text[shown..].split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            show(line.trim_end());
            shown += line.len();
        }
        if ended {
            break verdict::gone(&console.text, &output.text);
        }
        if let Some((until, end)) = &last_words {
            if Instant::now() >= *until {
                break verdict::trouble(&console.text).unwrap_or_else(|| End::clone(end));
            }
        } else if let Some(end) = verdict::trouble(&console.text) {
            last_words = Some((Instant::now() + LAST_WORDS, end));
        } else if let Some(code) = verdict::exit_code(&output.text) {
            last_words = Some((Instant::now() + POWER_OFF, End::Finished(code)));
        } else if heard.elapsed() >= limits.silence {
            break End::Silent(limits.silence);
        } else if start.elapsed() >= limits.whole {
            break End::Deadline(limits.whole);
        }
    };
    drop(emulator);
    console.read(&machine.console)?;
    output.read(&machine.output)?;
    if console.text.is_empty() {
        // It did not come as far as the kernel: what qemu says is why.
        console.text = fs::read_to_string(machine.console.with_extension("qemu")).unwrap_or_default();
    }
    let end = if matches!(end, End::Vanished(_)) { verdict::gone(&console.text, &output.text) } else { end };
    Ok(Ran { end, console: console.text, output: output.text, took: start.elapsed() })
}

/// A file that grows.
#[derive(Default)]
struct Log {
    text: String,
    /// Bytes read so far.
    at: u64,
}

impl Log {
    /// Reads what is new; whether there was anything.
    fn read(&mut self, path: &Path) -> Result<bool> {
        let Ok(mut file) = File::open(path) else { return Ok(false) };
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
        self.at += bytes.len() as u64;
        if self.text.len() < MOST {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(!bytes.is_empty())
    }
}
