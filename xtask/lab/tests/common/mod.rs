//! What the lab's own tests share.

/// Whether the test may run; says why not where it may not.
pub fn skip(test: &str) -> bool {
    if let Some(reason) = netobs_lab::unavailable() {
        // A fixed form that the gate looks for: on a machine that can run labs a skip is a failure.
        println!("SKIPPED {test}: {reason}");
        return true;
    }
    false
}
