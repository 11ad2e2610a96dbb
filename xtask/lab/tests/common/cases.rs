//! The cases of a suite, each as a test of its own. Needs the daemon's binary: `NETOBS_BIN`, else beside the tests' own
//! directory. A machine that cannot run labs skips them, unless `NETOBS_REQUIRE_LAB=1`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use netobs_lab::suite::{Context, Suite};

/// Seconds of silence where a suite by hand takes a minute.
const SILENCE: Duration = Duration::from_secs(3);

/// `target/PROFILE/netobs`, seen from `target/PROFILE/deps/SUITE-HASH`.
fn beside_the_tests() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.parent()?.join("netobs"))
}

/// Where the daemon is, or why no case can run.
fn context(suite: &Suite) -> Result<Context, String> {
    if let Some(reason) = (suite.unavailable)() {
        return Err(reason);
    }
    let netobs = std::env::var_os("NETOBS_BIN").map(PathBuf::from).or_else(beside_the_tests);
    let netobs = netobs.ok_or("the tests do not know where they are: set NETOBS_BIN")?;
    if !Path::is_file(&netobs) {
        return Err(format!("there is no daemon at {} (cargo build -p netobs-daemon)", netobs.display()));
    }
    Ok(Context { netobs, silence: SILENCE })
}

/// Runs a case of a suite; a panic is its failure.
pub fn run(suite: &Suite, name: &str) {
    let context = match context(suite) {
        Ok(context) => context,
        Err(reason) => {
            // A fixed form that the gate can look for: on a machine that can run labs a skip is a failure.
            println!("SKIPPED {name}: {reason}");
            assert!(std::env::var_os("NETOBS_REQUIRE_LAB").is_none_or(|set| set != "1"), "{reason}");
            return;
        }
    };
    let case = suite.cases.iter().find(|case| case.name == name);
    match case.map(|case| case.judge(&context).result) {
        Some(Ok(outcome)) if outcome.false_alarms.is_empty() => println!("{}", outcome.detail),
        Some(Ok(outcome)) => panic!("false alarms:\n{}", outcome.false_alarms.join("\n")),
        Some(Err(error)) => panic!("{error:#}"),
        None => panic!("the suite has no case {name}"),
    }
}

/// Makes a test of each case of a suite's list, all run by a function `run` of the test file. Those that measure are in a
/// module `alone`: by that name `.config/nextest.toml` knows them, and gives them the machine to themselves.
macro_rules! tests {
    (together { $($group:ident: $($case:ident),+;)+ } alone { $($other:ident: $($lone:ident),+;)+ }) => {
        $($(
            #[test]
            fn $case() {
                run(stringify!($case));
            }
        )+)+
        mod alone {
            $($(
                #[test]
                fn $lone() {
                    super::run(stringify!($lone));
                }
            )+)+
        }
    };
}
