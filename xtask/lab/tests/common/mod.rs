//! What the lab's own tests share.
#![allow(dead_code, reason = "each test file uses its part")]

/// Whether the test may not run here; says why.
pub fn skip(test: &str) -> bool {
    skip_without(test, &[])
}

/// The same for a test that needs these programs (each with its Debian package) besides.
pub fn skip_without(test: &str, programs: &[(&str, &str)]) -> bool {
    let reason = netobs_lab::unavailable().or_else(|| netobs_lab::missing(programs));
    if let Some(reason) = &reason {
        println!("SKIPPED {test}: {reason}");
        // The gate sets this where labs can run: a skip would hide something there.
        let required = std::env::var_os("NETOBS_REQUIRE_LAB").is_some_and(|value| value == "1");
        assert!(!required, "{test} must run here: {reason}");
    }
    reason.is_some()
}

/// The daemon's binary: `NETOBS_BIN`, else `target/PROFILE/netobs`, seen from `target/PROFILE/deps/TEST-HASH`.
pub fn netobs() -> std::path::PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("netobs"));
    let path = std::env::var_os("NETOBS_BIN").map(Into::into).or_else(beside);
    path.filter(|path: &std::path::PathBuf| path.is_file())
        .expect("a daemon: cargo build -p netobs-daemon, or NETOBS_BIN")
}
