//! Tests of [`super`]: consoles and outputs as machines wrote them.

use super::*;

fn check(console: &str, trouble_and_line: Option<(Trouble, &str)>) {
    let expected = trouble_and_line.map(|(trouble, line)| End::Trouble(trouble, line.to_owned()));
    assert_eq!(trouble(console), expected, "{console}");
}

#[test]
fn trouble_is_found_by_its_first_line() {
    check("[    0.000000] Linux version 6.1\n[    1.2] all is well\n", None);
    check(
        "[    3.141592] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n\
         [    3.141600] Oops: 0002 [#1] PREEMPT SMP NOPTI\n\
         [    3.2] Kernel panic - not syncing: Fatal exception\n",
        Some((Trouble::Oops, "BUG: kernel NULL pointer dereference, address: 0000000000000008")),
    );
    let panic = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)";
    check(&format!("[    1.0] x\n[    1.1] {panic}\n"), Some((Trouble::Panic, panic)));
    let lockup = "watchdog: BUG: soft lockup - CPU#1 stuck for 134s! [netobs:312]";
    check(&format!("[  200.000000] {lockup}\n"), Some((Trouble::Stall, lockup)));
    let stall = "rcu: INFO: rcu_preempt self-detected stall on CPU";
    check(&format!("[  200.000000] {stall}\n"), Some((Trouble::Stall, stall)));
    let task = "INFO: task ip:812 blocked for more than 120 seconds.";
    check(&format!("[  300.000000] {task}\n"), Some((Trouble::Stall, task)));
}

#[test]
fn exit_codes_are_read_from_complete_lines() {
    assert_eq!(exit_code("netobs-vm: begin 6.1 up 9.1\nx\nnetobs-vm: exit 0\r\n"), Some(0));
    assert_eq!(exit_code("netobs-vm: exit 101\nlater\n"), Some(101));
    // Its number may go on.
    assert_eq!(exit_code("x\nnetobs-vm: exit 1"), None);
    assert_eq!(exit_code("netobs-vm: exit many\n"), None);
    assert_eq!(exit_code(""), None);
}

#[test]
fn a_machine_that_is_gone_has_ended_in_one_way() {
    let done = "netobs-vm: begin 6.1 up 9.1\nnetobs-vm: exit 1\n";
    assert_eq!(gone("", done), End::Finished(1));
    // A panic while powering off is one.
    assert!(matches!(gone("Kernel panic - not syncing: x\n", done), End::Trouble(Trouble::Panic, _)));
    assert_eq!(gone("[    0.1] last words\n\n", "netobs-vm: begin 6.1\n"), End::Vanished("last words".into()));
    assert_eq!(gone("", ""), End::Vanished("(nothing)".into()));
}

#[test]
fn the_body_is_what_the_command_said() {
    let output = "noise\nnetobs-vm: begin 6.1.0-56-cloud-amd64 up 9.87\r\nrow\r\nnetobs-vm: exit 0\r\n";
    assert_eq!(body(output), (Some("6.1.0-56-cloud-amd64 up 9.87"), "row\n".into()));
    assert_eq!(body("noise\n"), (None, String::new()));
}

#[test]
fn warnings_are_listed_once() {
    let console = "[    5.0] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2\n[    5.1] refcount_t: underflow\n\
                   [    6.0] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2\n";
    assert_eq!(warnings(console), ["WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2", "refcount_t: underflow"]);
}

fn count(text: &str, end: &End, passed: u64, failed: u64, false_alarms: u64) {
    assert_eq!(Count::of(text, end), Count { passed, failed, false_alarms }, "{text} {end}");
}

#[test]
fn cases_are_counted_and_no_end_is_lost() {
    let hang = End::Silent(Duration::from_mins(5));
    let table = "drop_input  passed  1.2s  x\nlab skeleton: 46 passed, 2 failed, 1 false alarms\n";
    count(table, &End::Finished(1), 46, 2, 1);
    count(
        "lab a: 3 passed, 0 failed, 0 false alarms\nlab b: 4 passed, 0 failed, 0 false alarms\n",
        &End::Finished(0),
        7,
        0,
        0,
    );
    // A suite that passed and then a machine that did not end.
    count("lab a: 3 passed, 0 failed, 0 false alarms\n", &hang, 3, 1, 0);
    count(table, &hang, 46, 3, 1);
    // Commands without cases.
    count("hello\n", &End::Finished(0), 1, 0, 0);
    count("hello\n", &End::Finished(2), 0, 1, 0);
    count("", &End::Vanished("x".into()), 0, 1, 0);
    // Not a table's last line.
    count("lab two words: 3 passed, 0 failed, 0 false alarms\n", &End::Finished(0), 1, 0, 0);
}
