//! What a virtual machine's console and the output of its command say about how the run went.

use std::fmt;
use std::time::Duration;

use crate::progress::seconds;

/// First words of the lines that guest/second.sh writes itself.
const BEGIN: &str = "netobs-vm: begin ";
const EXIT: &str = "netobs-vm: exit ";

/// What the kernel says when it is in trouble, most telling first in the order of the lines.
const TROUBLE: [(&str, Trouble); 12] = [
    ("Kernel panic - not syncing", Trouble::Panic),
    ("BUG: soft lockup", Trouble::Stall),
    ("watchdog: BUG: soft lockup", Trouble::Stall),
    ("hard LOCKUP", Trouble::Stall),
    ("self-detected stall on CPU", Trouble::Stall),
    ("detected stalls on CPUs", Trouble::Stall),
    ("blocked for more than", Trouble::Stall),
    ("BUG: ", Trouble::Oops),
    ("kernel BUG at ", Trouble::Oops),
    ("Oops: ", Trouble::Oops),
    ("general protection fault", Trouble::Oops),
    ("Internal error: ", Trouble::Oops),
];

/// In which way the kernel is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It gave up.
    Panic,
    /// It did something wrong and noticed.
    Oops,
    /// A processor or task does not get on.
    Stall,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its command ended with this exit code.
    Finished(u8),
    /// The kernel said this line.
    Trouble(Trouble, String),
    /// Neither console nor command said anything for so long.
    Silent(Duration),
    /// It still ran when its time was over.
    Deadline(Duration),
    /// It ended before its command did; the console's last line.
    Vanished(String),
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(0) => out.write_str("finished"),
            Self::Finished(code) => write!(out, "exit code {code}"),
            Self::Trouble(Trouble::Panic, line) => write!(out, "KERNEL PANIC: {line}"),
            Self::Trouble(Trouble::Oops, line) => write!(out, "KERNEL OOPS: {line}"),
            Self::Trouble(Trouble::Stall, line) => write!(out, "KERNEL STALL: {line}"),
            Self::Silent(time) => write!(out, "HANG: said nothing for {}", seconds(*time)),
            Self::Deadline(time) => write!(out, "HANG: not finished after {}", seconds(*time)),
            Self::Vanished(line) => write!(out, "ENDED before its command did; last line: {line}"),
        }
    }
}

/// The first line of the console that tells of trouble.
pub fn trouble(console: &str) -> Option<End> {
    console.lines().map(without_time).find_map(|line| {
        let (_, trouble) = TROUBLE.iter().find(|(words, _)| line.contains(words))?;
        Some(End::Trouble(*trouble, line.to_owned()))
    })
}

/// The exit code, once the command has ended.
pub fn exit_code(output: &str) -> Option<u8> {
    // Complete lines only.
    let (complete, _) = output.rsplit_once('\n')?;
    complete.lines().rev().find_map(|line| line.strip_prefix(EXIT)?.trim().parse().ok())
}

/// How the machine ended that is not there any more.
pub fn gone(console: &str, output: &str) -> End {
    let last = || {
        let line = console.lines().map(without_time).rfind(|line| !line.trim().is_empty());
        line.unwrap_or("(nothing)").to_owned()
    };
    trouble(console).or_else(|| exit_code(output).map(End::Finished)).unwrap_or_else(|| End::Vanished(last()))
}

/// What the kernel complains about without an end of its own: warnings with a stack, each once.
pub fn warnings(console: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in console.lines().map(without_time) {
        let is_new = found.iter().all(|known| known != line);
        if is_new
            && (line.starts_with("WARNING: CPU: ") || line.starts_with("WARNING: at ") || line.contains("refcount_t:"))
        {
            found.push(line.to_owned());
        }
    }
    found
}

/// The command's own output, and the kernel and the time in seconds that it began at.
pub fn body(output: &str) -> (Option<&str>, String) {
    let mut begin = None;
    let mut text = String::new();
    for line in output.lines() {
        if let Some(rest) = line.strip_prefix(BEGIN) {
            begin = Some(rest.trim());
        } else if begin.is_some() && !line.starts_with(EXIT) {
            text.push_str(line.trim_end_matches('\r'));
            text.push('\n');
        }
    }
    (begin, text)
}

/// Cases of the lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
    /// Problems that nothing had caused.
    pub false_alarms: u64,
}

impl Count {
    /// Of a run: the sum of what its suites say at their ends. A command that says nothing of the kind is one case, and so
    /// is each end that is none.
    pub fn of(text: &str, end: &End) -> Self {
        let suites: Vec<Self> = text.lines().filter_map(suite).collect();
        let mut all = suites.iter().fold(Self::default(), |sum, suite| sum + *suite);
        let fine = *end == End::Finished(0);
        if suites.is_empty() && fine {
            all.passed = 1;
        }
        if !fine && all.failed == 0 && all.false_alarms == 0 || !matches!(end, End::Finished(_)) {
            all.failed += 1;
        }
        all
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            false_alarms: self.false_alarms + other.false_alarms,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} false alarms", self.passed, self.failed, self.false_alarms)
    }
}

/// `lab SUITE: P passed, F failed, A false alarms`, as the lab's table ends.
fn suite(line: &str) -> Option<Count> {
    let (name, counts) = line.strip_prefix("lab ")?.split_once(": ")?;
    let mut parts = counts.split(", ");
    let mut number = |word: &str| parts.next()?.strip_suffix(word)?.trim_end().parse().ok();
    let count = Count { passed: number("passed")?, failed: number("failed")?, false_alarms: number("false alarms")? };
    (!name.contains(' ')).then_some(count)
}

/// A line of the console without the time in front of it: `[   12.345678] `, behind `[ T1]` on some kernels.
fn without_time(line: &str) -> &str {
    let line = line.trim_end_matches('\r').trim_start();
    let rest = line.strip_prefix('[').and_then(|rest| {
        let (time, rest) = rest.split_once("] ")?;
        time.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then_some(rest)
    });
    rest.unwrap_or(line)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
