//! The table of cases on the terminal, and the line at its end.

use anstyle::{AnsiColor, Style};

use super::case::{Case, Verdict};

/// Prints a row per case as it finishes and counts.
pub(super) struct Table {
    suite: String,
    width: usize,
    passed: usize,
    failed: usize,
    false_alarms: usize,
}

impl Table {
    /// Prints the head.
    pub(super) fn new(suite: &str, cases: &[&Case]) -> Self {
        let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0).max(4);
        anstream::println!("{:<width$}  {:<11}  {:>6}  DETAIL", "CASE", "VERDICT", "TIME");
        Self { suite: suite.to_owned(), width, passed: 0, failed: 0, false_alarms: 0 }
    }

    /// Prints a case's row.
    pub(super) fn row(&mut self, case: &Case, verdict: &Verdict) {
        let (color, word, detail) = match &verdict.result {
            Err(error) => {
                self.failed += 1;
                (AnsiColor::Red, "failed", format!("{error:#}"))
            }
            Ok(outcome) if outcome.false_alarms.is_empty() => {
                self.passed += 1;
                (AnsiColor::Green, "passed", outcome.detail.clone())
            }
            Ok(outcome) => {
                // What it was about worked; the alarms are counted for themselves.
                self.passed += 1;
                self.false_alarms += outcome.false_alarms.len();
                (AnsiColor::Yellow, "false alarm", outcome.false_alarms.join("\n"))
            }
        };
        let style = Style::new().fg_color(Some(color.into()));
        let (name, width, seconds) = (case.name, self.width, verdict.time.as_secs_f64());
        let mut lines = detail.lines();
        let first = lines.next().unwrap_or_default();
        anstream::println!("{name:<width$}  {style}{word:<11}{style:#}  {seconds:>5.1}s  {first}");
        for line in lines {
            anstream::println!("    {line}");
        }
    }

    /// Prints the last line; whether all is well.
    pub(super) fn finish(self) -> bool {
        let Self { suite, passed, failed, false_alarms, .. } = self;
        anstream::println!("lab {suite}: {passed} passed, {failed} failed, {false_alarms} false alarms");
        failed == 0 && false_alarms == 0
    }
}
