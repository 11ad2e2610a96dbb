//! Suites: cases that each run a daemon on a lab node of their own and read nothing but its HTTP API.

mod case;
pub mod families;
pub mod json;
mod ledger;
pub mod skeleton;
mod stage;
mod table;
mod traffic;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub use case::{Case, Context, Outcome, Suite, Verdict};
pub use stage::Stage;
use table::Table;

/// All suites.
pub const SUITES: [Suite; 2] = [skeleton::SUITE, families::SUITE];

/// How many cases run at a time.
const AT_A_TIME: usize = 2;

/// Which suite, and what of it.
#[derive(clap::Args, Debug)]
pub struct SuiteArgs {
    /// Name of the suite: `skeleton` (drops, DNS, and all that is common) or `families` (MTU, resets, floods).
    suite: String,
    /// Only this case; may be given more than once.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Print the names of the cases and end.
    #[arg(long)]
    list: bool,
    /// Seconds of silence before the packets that must still be told at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    silence: u64,
    /// Run the cases one after another.
    #[arg(long)]
    serial: bool,
}

/// Runs a suite. Success only if no case failed and there was no false alarm.
pub fn run(netobs: &Path, arguments: &SuiteArgs) -> Result<ExitCode> {
    let Some(suite) = SUITES.iter().find(|suite| suite.name == arguments.suite) else {
        let names = SUITES.map(|suite| suite.name).join(", ");
        bail!("there is no suite {:?}; there are: {names}", arguments.suite);
    };
    let cases = suite.cases;
    if let Some(unknown) = arguments.case.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        bail!("suite {} has no case {unknown:?}; --list prints them", arguments.suite);
    }
    let wanted = |case: &&Case| arguments.case.is_empty() || arguments.case.iter().any(|name| name == case.name);
    let cases: Vec<&Case> = cases.iter().filter(wanted).collect();
    if arguments.list {
        for case in cases {
            anstream::println!("{}", case.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(reason) = (suite.unavailable)() {
        bail!("no lab here: {reason}");
    }
    let netobs = netobs.canonicalize().with_context(|| format!("the daemon's binary {}", netobs.display()))?;
    let context = Context { netobs, silence: Duration::from_secs(arguments.silence) };
    let table = Mutex::new(Table::new(&arguments.suite, &cases));
    // What is measured runs alone.
    let (alone, together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.alone);
    run_cases(&context, &together, if arguments.serial { 1 } else { AT_A_TIME }, &table);
    run_cases(&context, &alone, 1, &table);
    let table = table.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(if table.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_cases(context: &Context, cases: &[&Case], at_a_time: usize, table: &Mutex<Table>) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = case.judge(context);
                    table.lock().unwrap_or_else(std::sync::PoisonError::into_inner).row(case, &verdict);
                }
            });
        }
    });
}
