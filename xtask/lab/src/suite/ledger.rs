//! The loss ledger as the status page shows it.

use serde_json::Value;

/// Whether the sums of all hooks and families are exact and hold.
pub fn is_settled(status: &Value) -> bool {
    let all = |pointer: &str| status.pointer(pointer).and_then(Value::as_array).filter(|all| !all.is_empty());
    let balanced = |part: &Value| {
        part["sums"].as_array().is_some_and(|sums| !sums.is_empty() && sums.iter().all(|sum| sum["balanced"] == true))
    };
    status.pointer("/ledger/settled") == Some(&Value::Bool(true))
        && all("/ledger/hooks").is_some_and(|hooks| hooks.iter().all(balanced))
        && all("/ledger/families").is_some_and(|families| families.iter().all(balanced))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_sum_that_does_not_hold_is_enough() {
        let status = |settled: bool, hook: bool, family: bool| {
            let part = |holds: bool| json!([{"sums": [{"balanced": true}, {"balanced": holds}]}]);
            json!({"ledger": {"settled": settled, "hooks": part(hook), "families": part(family)}})
        };
        assert!(is_settled(&status(true, true, true)));
        for (settled, hook, family) in [(false, true, true), (true, false, true), (true, true, false)] {
            assert!(!is_settled(&status(settled, hook, family)));
        }
        assert!(!is_settled(&json!({"ledger": {"settled": true, "hooks": [], "families": []}})));
    }
}
