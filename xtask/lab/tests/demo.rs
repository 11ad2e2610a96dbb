//! The demo from outside: it ends by itself, has seen every fault and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The demo's binary, which is built with this test.
const DEMO: &str = env!("CARGO_BIN_EXE_netobs-lab");

/// The daemon's binary: `NETOBS_BIN`, else the one beside ours, which `cargo xtask test` has built.
fn daemon() -> Option<PathBuf> {
    let beside = || Path::new(DEMO).with_file_name("netobs");
    let path = std::env::var_os("NETOBS_BIN").map_or_else(beside, PathBuf::from);
    path.is_file().then_some(path)
}

/// Whether the test cannot run here. A skip is a failure where `NETOBS_REQUIRE_LAB` is 1.
fn skip() -> bool {
    let lab = common::skip_without("demo", &[("knotd", "knot"), ("dig", "bind9-dnsutils")]);
    let no_daemon = daemon().is_none();
    if no_daemon {
        println!("SKIPPED demo: no daemon beside {DEMO}, none named by NETOBS_BIN (cargo build -p netobs-daemon)");
    }
    let skip = lab || no_daemon;
    let required = std::env::var("NETOBS_REQUIRE_LAB").is_ok_and(|value| value == "1");
    assert!(!(skip && required), "NETOBS_REQUIRE_LAB is 1: the demo must run here");
    skip
}

#[test]
fn demo_once_sees_every_fault() {
    if skip() {
        return;
    }
    let mut command = Command::new(DEMO);
    command.args(["demo", "--once", "--netobs"]).arg(daemon().unwrap());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    let expected = [
        "1/8  shop/web may not reach shop/api",
        "✓ seen",
        "2/8  shop/web connects to the Service shop/db",
        "(service shop/db)",
        "✓ seen",
        "3/8  monitoring/agent cannot scrape the kubelet",
        "dropped by netfilter in INPUT",
        "✓ seen",
        "4/8  shop/api looks up a name with a typing error",
        "NXDOMAIN",
        "✓ seen",
        "5/8  shop/api asks the DNS server infra/resolver",
        "no answer",
        "✓ seen",
        "6/8  shop/api sends metrics in packets of 1480 bytes",
        "1480 bytes do not fit",
        "✓ seen",
        "7/8  shop/web connects to shop/db:6379",
        "refused",
        "✓ seen",
        "8/8  monitoring/agent tries shop/api:6379",
        "FLOOD",
        "✓ seen",
        "8 of 8 faults seen with the right names at both ends, no false alarms",
    ];
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = unwrapped.as_str();
    for part in expected {
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        rest = rest.split_once(&part).unwrap_or_else(|| panic!("no {part:?} in the order expected:\n{text}")).1;
    }
    assert!(!text.contains('\u{1b}'), "colours in a pipe:\n{text}");
    let left = std::fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(&format!("nol-{pid}-"))).collect();
    assert!(left.is_empty(), "{left:?}");
}
