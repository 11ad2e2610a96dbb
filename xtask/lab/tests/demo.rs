//! The demo from outside: it ends by itself, has seen every fault and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The demo's binary, which is built with this test.
const DEMO: &str = env!("CARGO_BIN_EXE_netobs-lab");

/// The daemon's binary: `NETOBS_BIN`, else the one beside ours, which `cargo xtask test` has built.
fn daemon() -> Option<PathBuf> {
    let beside = || Path::new(DEMO).with_file_name("netobs");
    let path = std::env::var_os("NETOBS_BIN").map_or_else(beside, PathBuf::from);
    path.is_file().then_some(path)
}

#[test]
fn demo_once_sees_every_fault() {
    if common::skip_without("demo", &[("knotd", "knot"), ("dig", "bind9-dnsutils")]) {
        return;
    }
    let Some(daemon) = daemon() else {
        println!("SKIPPED demo: no daemon beside {DEMO} and none named by NETOBS_BIN; cargo build -p netobs-daemon");
        assert!(std::env::var_os("NETOBS_REQUIRE_LAB").is_none_or(|value| value != "1"), "a skip is a failure here");
        return;
    };
    let child = Command::new(DEMO).args(["demo", "--once", "--netobs"]).arg(daemon);
    let child = { child }.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    let expected = [
        "1/5  shop/web may not reach shop/api",
        "2/5  shop/web connects to the Service shop/db",
        "(service shop/db)",
        "3/5  monitoring/agent cannot scrape the kubelet",
        "dropped by netfilter in INPUT",
        "4/5  shop/api looks up a name with a typing error",
        "NXDOMAIN",
        "5/5  shop/api asks the DNS server infra/resolver",
        "no answer",
        "5 of 5 faults seen with the right names at both ends, no false alarms",
    ];
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = unwrapped.as_str();
    for part in expected {
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        rest = rest.split_once(&part).unwrap_or_else(|| panic!("no {part:?} in the order expected:\n{text}")).1;
    }
    assert_eq!(text.matches("✓ seen").count(), 5, "{text}");
    assert!(!text.contains('\u{1b}'), "colours in a pipe:\n{text}");
    let left = std::fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(&format!("nol-{pid}-"))).collect();
    assert!(left.is_empty(), "{left:?}");
}
