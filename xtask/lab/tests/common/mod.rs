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
        // A fixed form that the gate can look for: on a machine that can run labs a skip is a failure.
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}
