//! What a run on several kernels ends in: a line for each, and a sum.

use crate::progress::seconds;
use crate::vm::choice::Wanted;
use crate::vm::features::{self, Seen};
use crate::vm::kernel::Ready;
use crate::vm::verdict::{self, Count, End};
use crate::vm::watch::Ran;

/// How it went on one kernel.
#[derive(Debug)]
pub struct Report {
    name: String,
    count: Count,
    /// What the command said.
    text: String,
    /// What there is to say besides, in the order in which it matters.
    notes: Vec<String>,
}

impl Report {
    /// Of a run. `logs`: where its logs are, for people.
    pub fn of(wanted: &Wanted, kernel: &Ready, ran: &Ran, logs: &str) -> Self {
        let (begin, text) = verdict::body(&ran.output);
        let mut notes = Vec::new();
        if !matches!(ran.end, End::Finished(0 | 1)) {
            notes.push(ran.end.to_string());
        }
        let warnings = verdict::warnings(&ran.console);
        if let Some(first) = warnings.first() {
            notes.push(format!("{} kernel warnings, the first: {first}", warnings.len()));
        }
        notes.push(match begin.and_then(|begin| begin.rsplit_once(" up ")) {
            Some((_, up)) => format!("{}, of which {up} s to start", seconds(ran.took)),
            None => format!("{}, never started", seconds(ran.took)),
        });
        notes.push(logs.to_owned());
        Self { name: format!("{wanted} ({})", kernel.release), count: Count::of(&text, &ran.end), text, notes }
    }

    /// Of a kernel on which nothing could be run.
    pub fn not_run(wanted: &Wanted, why: &str) -> Self {
        let count = Count { failed: 1, ..Count::default() };
        Self { name: wanted.to_string(), count, text: String::new(), notes: vec![format!("not run: {why}")] }
    }

    /// The kernel's, as it was wanted and as it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The features of the kernel, if the command told them.
    pub fn features(&self) -> Option<Vec<Seen>> {
        features::read(&self.text)
    }

    /// Its line.
    pub fn line(&self) -> String {
        format!("vm {}: {}; {}", self.name, self.count, self.notes.join("; "))
    }
}

/// Prints a line for each kernel and the last line; returns the sum.
pub fn print(reports: &[Report]) -> Count {
    println!();
    for report in reports {
        println!("{}", report.line());
    }
    let count = reports.iter().fold(Count::default(), |sum, report| sum + report.count);
    println!("vm: {count}");
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

    fn ready() -> Ready {
        let path = PathBuf::from("/x");
        Ready { release: "6.1.0-56-cloud-amd64".into(), image: path.clone(), initrd: path.clone(), modules: path }
    }

    fn check(end: End, console: &str, output: &str, expected: &str) {
        let ran = Ran { end, console: console.into(), output: output.into(), took: Duration::from_secs(64) };
        assert_eq!(Report::of(&Wanted::Line(6, 1), &ready(), &ran, "target/vm/6.1").line(), expected);
    }

    #[test]
    fn lines_say_what_happened() {
        check(
            End::Finished(1),
            "",
            "netobs-vm: begin 6.1.0 up 9.87\nlab skeleton: 40 passed, 2 failed, 0 false alarms\nnetobs-vm: exit 1\n",
            "vm 6.1 (6.1.0-56-cloud-amd64): 40 passed, 2 failed, 0 false alarms; 64.0 s, of which 9.87 s to start; \
             target/vm/6.1",
        );
        check(
            End::Silent(Duration::from_mins(1)),
            "WARNING: CPU: 0 PID: 1 at a.c:1\n",
            "",
            "vm 6.1 (6.1.0-56-cloud-amd64): 0 passed, 1 failed, 0 false alarms; HANG: said nothing for 60.0 s; \
             1 kernel warnings, the first: WARNING: CPU: 0 PID: 1 at a.c:1; 64.0 s, never started; target/vm/6.1",
        );
    }

    #[test]
    fn a_kernel_that_was_not_run_has_failed() {
        let report = Report::not_run(&Wanted::Newest, "no such package");
        assert_eq!(report.line(), "vm newest: 0 passed, 1 failed, 0 false alarms; not run: no such package");
    }
}
