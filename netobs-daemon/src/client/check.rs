//! `netobs check`: what works here, what is lost and why, without a daemon.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::client::output::{OutputError, ignore_closed_pipe, stdout};
use crate::client::render::clean;
use crate::client::status::Output;
use crate::client::tables::section;
use crate::config::RunArgs;
use crate::kernel::features::{Checked, Feature, State};

/// Load and attach everything as `netobs run` with the same arguments would, show what works, and detach it again.
///
/// Exit code: 0, everything works; 3, the daemon runs, but something is lost; 1, it cannot run here.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// How to show it.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
}

/// Exit code where something is lost.
const LESS: u8 = 3;

/// Prints what was found; the exit code that says it.
pub fn show(checked: &Checked, output: Output) -> Result<ExitCode> {
    let text = match output {
        Output::Json => serde_json::to_string_pretty(checked)? + "\n",
        Output::Table => table(checked),
    };
    let mut out = stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ignore_closed_pipe(written.map_err(|error| OutputError(error).into()))?;
    Ok(code(checked))
}

fn code(checked: &Checked) -> ExitCode {
    match (&checked.cannot_run, checked.all_works()) {
        (Some(_), _) => ExitCode::FAILURE,
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::from(LESS),
    }
}

fn table(checked: &Checked) -> String {
    let mut text = format!("netobs {} on kernel {}\n", clean(&checked.version), clean(&checked.kernel));
    if let Some(why) = &checked.cannot_run {
        let _ = writeln!(text, "\nnetobs cannot run here: {}", clean(why));
        return text;
    }
    features(&mut text, &checked.features);
    let count = |state| checked.features.iter().filter(|feature| feature.state == state).count();
    let _ = writeln!(
        text,
        "\n{} of {} work as they should, {} lose something, {} are missing",
        count(State::Works),
        checked.features.len(),
        count(State::Degraded),
        count(State::Missing)
    );
    text
}

/// Their table, and below it what is lost, a paragraph for each: sentences do not fit into cells.
pub fn features(text: &mut String, features: &[Feature]) {
    let rows = features.iter().map(|feature| {
        let state = match feature.state {
            State::Works => "works",
            State::Degraded => "DEGRADED",
            State::Missing => "MISSING",
        };
        [feature.name.clone(), state.to_owned(), feature.by.clone().unwrap_or_default()]
    });
    section(text, "Features", ["feature", "state", "by"], rows);
    for feature in features {
        let Some(lost) = &feature.lost else { continue };
        let _ = writeln!(text, "\n{}: {}", clean(&feature.name), clean(lost));
        if let Some(why) = &feature.why {
            let _ = writeln!(text, "  why: {}", clean(why));
        }
        if let Some(brings) = &feature.brings {
            let _ = writeln!(text, "  what would bring it: {}", clean(brings));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(features: Vec<Feature>, cannot_run: Option<&str>) -> Checked {
        Checked {
            version: "0.1.0".to_owned(),
            kernel: "6.1.0".to_owned(),
            cannot_run: cannot_run.map(str::to_owned),
            features,
        }
    }

    fn works() -> Feature {
        Feature { name: "drops".to_owned(), by: Some("BTF tracepoint".to_owned()), ..Feature::default() }
    }

    fn lacking(state: State) -> Feature {
        Feature {
            name: "hooks".to_owned(),
            state,
            lost: Some("no hook".to_owned()),
            why: Some("EINVAL\u{7}".to_owned()),
            brings: Some("Linux 6.4".to_owned()),
            ..Feature::default()
        }
    }

    #[test]
    fn the_exit_code_says_it() {
        let check = |checked: &Checked, expected| assert_eq!(format!("{:?}", code(checked)), format!("{expected:?}"));
        check(&checked(vec![works()], None), ExitCode::SUCCESS);
        check(&checked(vec![works(), lacking(State::Degraded)], None), ExitCode::from(3));
        check(&checked(vec![lacking(State::Missing)], None), ExitCode::from(3));
        check(&checked(Vec::new(), Some("No BTF.")), ExitCode::FAILURE);
    }

    #[test]
    fn what_is_lost_stands_below_the_table() {
        let text = table(&checked(vec![works(), lacking(State::Missing)], None));
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let expected = [
            "netobs 0.1.0 on kernel 6.1.0",
            "",
            "Features",
            " FEATURE  STATE    BY",
            " drops    works    BTF tracepoint",
            " hooks    MISSING",
            "",
            "hooks: no hook",
            "  why: EINVAL\u{fffd}",
            "  what would bring it: Linux 6.4",
            "",
            "1 of 2 work as they should, 0 lose something, 1 are missing",
        ];
        assert_eq!(lines, expected);
        let text = table(&checked(Vec::new(), Some("No BTF.")));
        assert_eq!(text, "netobs 0.1.0 on kernel 6.1.0\n\nnetobs cannot run here: No BTF.\n");
    }
}
