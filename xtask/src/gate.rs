//! `cargo xtask test`: the gate, the same here and in CI. What fails soonest runs first.

use std::process::Command;

use anyhow::Result;

use crate::build::{self, USER_SIDE};
use crate::progress::{Progress, seconds};
use crate::setup::packages::Purpose;
use crate::workspace::Workspace;
use crate::{deny, deploy, setup, tidy, tool};

/// What to leave out.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Run only the tests whose names contain this, and nothing else of the gate
    filter: Option<String>,
    /// Leave out the documentation build
    #[arg(long)]
    quick: bool,
}

/// Runs the gate.
pub fn run(workspace: &Workspace, progress: &mut Progress, options: &Options) -> Result<()> {
    let toolchain = setup::prepare(workspace, progress, Purpose::Check)?;
    if let Some(filter) = &options.filter {
        build::kernel_object(workspace, progress, &toolchain)?;
        build::user_side(workspace, progress, false)?;
        tests(workspace, progress, Some(filter))?;
        println!("xtask test: the tests that match {filter:?} passed; the rest of the gate was not run");
        return Ok(());
    }
    quiet(workspace, progress, "format", &["fmt", "--all", "--check", "--", "--color", "never"])?;
    progress.step("repository rules", false, || tidy::run(workspace))?;
    quiet(workspace, progress, "unused dependencies", &["machete"])?;
    deny::run(workspace, progress)?;
    deploy::check(workspace, progress)?;
    build::kernel_object(workspace, progress, &toolchain)?;
    progress.step("lint the kernel side", false, || {
        tool::quiet(workspace, "lint-kernel", &mut build::kernel_clippy(workspace)?)
    })?;
    quiet(workspace, progress, "lint", &with_user_side(&["clippy"], &["--all-targets", "--", "-Dwarnings"]))?;
    build::user_side(workspace, progress, false)?;
    tests(workspace, progress, None)?;
    quiet(workspace, progress, "documentation's examples", &with_user_side(&["test"], &["--doc"]))?;
    if !options.quick {
        progress.step("documentation", false, || {
            let mut cargo = tool::cargo(workspace)?;
            cargo.args(with_user_side(&["doc"], &["--no-deps"])).env("RUSTDOCFLAGS", "-Dwarnings");
            tool::quiet(workspace, "documentation", &mut cargo)
        })?;
    }
    summary(progress);
    Ok(())
}

fn with_user_side<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<&'a str> {
    [before, USER_SIDE.as_slice(), after].concat()
}

fn quiet(workspace: &Workspace, progress: &mut Progress, name: &str, arguments: &[&str]) -> Result<()> {
    progress.step(name, false, || tool::quiet(workspace, name, tool::cargo(workspace)?.args(arguments)))
}

/// The test runner's own output stays in view: its last line says how many tests ran.
fn tests(workspace: &Workspace, progress: &mut Progress, filter: Option<&str>) -> Result<()> {
    progress.step("tests", true, || tool::visible(&mut nextest(workspace, filter)?))
}

fn nextest(workspace: &Workspace, filter: Option<&str>) -> Result<Command> {
    let mut cargo = tool::cargo(workspace)?;
    cargo.args(with_user_side(&["nextest", "run"], &["--no-fail-fast"])).args(filter);
    cargo.env("NETOBS_BIN", workspace.daemon(false));
    if tool::is_root() {
        // Root can build the lab, so a lab test that skips itself here hides something.
        cargo.env("NETOBS_REQUIRE_LAB", "1");
    } else {
        eprintln!("not root: the lab tests, which make network namespaces and load BPF programs, will skip themselves");
    }
    Ok(cargo)
}

fn summary(progress: &Progress) {
    println!();
    for (name, took) in progress.done() {
        println!("{:>12}  {name}", seconds(*took));
    }
    println!("xtask test: all {} steps passed", progress.done().len());
}
