//! Events are compared as JSON, as programs of users get them: a part of an event that is wanted, and what differs.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Pod, Service};

/// Whether `have` has everything in `want`: of an object the named fields, of an array all elements in order. `null`
/// wants the field to be absent.
pub fn contains(have: &Value, want: &Value) -> bool {
    differences(have, want).is_empty()
}

/// What of `want` is not so in `have`: a line each.
pub fn differences(have: &Value, want: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", have, want, &mut found);
    found
}

fn compare(path: &str, have: &Value, want: &Value, found: &mut Vec<String>) {
    match (have, want) {
        (Value::Object(fields), Value::Object(wanted)) => {
            for (name, want) in wanted {
                compare(&format!("{path}/{name}"), fields.get(name).unwrap_or(&Value::Null), want, found);
            }
        }
        (Value::Array(have), Value::Array(want)) if have.len() == want.len() => {
            for (index, (have, want)) in have.iter().zip(want).enumerate() {
                compare(&format!("{path}/{index}"), have, want, found);
            }
        }
        (have, want) if have == want => {}
        (have, want) => found.push(format!("{path} is {have}, not {want}")),
    }
}

/// An error with all differences and the whole event, if it is not as wanted.
pub fn must(event: &Value, want: &Value) -> Result<()> {
    let found = differences(event, want);
    ensure!(found.is_empty(), "{}\nin {event}", found.join("\n"));
    Ok(())
}

/// Text at a JSON pointer; empty if there is none.
pub fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whole number at a JSON pointer; 0 if there is none.
pub fn number(event: &Value, pointer: &str) -> u64 {
    event.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// The end of a flow that is this pod, with all of its names.
pub fn pod(pod: &Pod) -> Value {
    let workload = pod.workload().top().map(|top| json!({"kind": top.kind, "name": top.name}));
    json!({
        "pod": {
            "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid(), "node": "node-a", "workload": workload,
        },
        "service": null, "node": null, "unknown": null,
    })
}

/// A service and its port.
pub fn service(service: &Service, port: &str) -> Value {
    json!({"namespace": service.namespace, "name": service.name, "port_name": port})
}

/// A flow to this address.
pub fn flow(protocol: &str, to: SocketAddr) -> Value {
    json!({"protocol": protocol, "destination_ip": to.ip(), "destination_port": to.port()})
}

/// A drop on the way to this address.
pub fn drop_to(protocol: &str, to: SocketAddr) -> Value {
    json!({"kind": "drop", "flow": flow(protocol, to)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_and_named() {
        let event = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        assert!(contains(&event, &json!({"a": {"b": 1}, "e": null})));
        assert_eq!(
            differences(&event, &json!({"a": {"b": 2}, "d": null})),
            ["/a/b is 1, not 2", "/d is \"x\", not null"]
        );
        assert!(!contains(&event, &json!({"a": {"c": [1]}})));
    }
}
