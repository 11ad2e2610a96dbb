//! A case, what it needs and how it ends.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What cases are given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The daemon's binary.
    pub netobs: PathBuf,
    /// How long the case about silence is silent.
    pub silence: Duration,
}

/// A case of a suite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name, as the function is called.
    pub name: &'static str,
    /// It measures and must have the machine to itself.
    pub alone: bool,
    /// Runs it. An error is its failure.
    pub run: fn(&Context) -> Result<Outcome>,
}

/// Cases that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its cases.
    pub cases: &'static [Case],
    /// Why it cannot run here; `None` if it can.
    pub unavailable: fn() -> Option<String>,
}

/// Makes `CASES` of a suite's list of cases: groups (modules of the suite), and the functions in each. Those after `alone`
/// measure and run by themselves.
macro_rules! case_table {
    (together { $($group:ident: $($case:ident),+;)+ } alone { $($other:ident: $($lone:ident),+;)+ }) => {
        /// All cases.
        pub const CASES: &[$crate::suite::Case] = &[
            $($($crate::suite::Case { name: stringify!($case), alone: false, run: $group::$case },)+)+
            $($($crate::suite::Case { name: stringify!($lone), alone: true, run: $other::$lone },)+)+
        ];
    };
}
pub(super) use case_table;

/// How a case ended that did not fail.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it saw, in a few words.
    pub detail: String,
    /// Problems that the daemon told of and that nothing in the case had caused, as JSON.
    pub false_alarms: Vec<String>,
}

/// The same with its time, and failures.
#[derive(Debug)]
pub struct Verdict {
    /// From the making of the node to its end.
    pub time: Duration,
    /// How it ended.
    pub result: Result<Outcome>,
}

impl Case {
    /// Runs it and takes the time.
    pub fn judge(&self, context: &Context) -> Verdict {
        let start = Instant::now();
        let result = (self.run)(context);
        Verdict { time: start.elapsed(), result }
    }
}

impl Verdict {
    /// Neither failed nor a false alarm.
    pub fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(|outcome| outcome.false_alarms.is_empty())
    }
}
