//! What a killed lab leaves behind is removed by the next.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use netobs_lab::{Node, PodSpec};

const VICTIM: &str = "NETOBS_LAB_VICTIM";

/// Not a test by itself: the process that the test below starts and kills.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let node = Node::new().unwrap();
    let pod = node.add_pod(PodSpec::new("shop", "web")).unwrap();
    println!("\nVICTIM {} {} {}", pod.netns().name(), pod.pause_pid().unwrap(), pod.cgroup().path().display());
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn leftovers_of_a_killed_lab_are_removed_by_the_next() {
    if common::skip("leftovers") {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("VICTIM")).expect("the victim says what it made");
    let [_, netns, pid, cgroup] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    // A cgroup can only be removed once no process is left in it, so its end is the processes' end.
    assert!(std::fs::read_to_string(format!("{cgroup}/cgroup.procs")).unwrap().lines().any(|line| line == pid));
    let things = [format!("/run/netns/{netns}"), cgroup.to_owned()];
    for thing in &things {
        assert!(Path::new(thing).exists(), "{thing}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let _next = Node::new().unwrap();
    for thing in &things {
        assert!(!Path::new(thing).exists(), "{thing}");
    }
}
