//! What an event has to say about a fault, and whether it does: pure, on the JSON that any client gets.

use serde_json::Value;

/// A field of an event as a JSON pointer (RFC 6901), and its value; null means that the field is absent.
pub type Field = (&'static str, Value);

/// The event that one packet (or question) of a fault has to lead to.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Which of the fault's packets: `IPv4`, `IPv6`.
    pub label: &'static str,
    /// By these fields an event is recognised as being about this packet.
    pub about: Vec<Field>,
    /// And these it has to say of it.
    pub says: Vec<Field>,
}

impl Expected {
    /// None if the event is about something else, else all that it says wrongly: empty if it is right.
    pub fn judge(&self, event: &Value) -> Option<Vec<String>> {
        if !has(event, &self.about) {
            return None;
        }
        let wrong = self.says.iter().filter(|(pointer, value)| field(event, pointer) != value);
        Some(wrong.map(|(pointer, value)| difference(pointer, value, field(event, pointer))).collect())
    }
}

/// Whether an event has all these fields.
pub fn has(event: &Value, fields: &[Field]) -> bool {
    fields.iter().all(|(pointer, value)| field(event, pointer) == value)
}

fn field<'a>(event: &'a Value, pointer: &str) -> &'a Value {
    event.pointer(pointer).unwrap_or(&Value::Null)
}

fn difference(pointer: &str, expected: &Value, got: &Value) -> String {
    let name = pointer.trim_start_matches('/').replace('/', ".");
    match (expected, got) {
        (_, Value::Null) => format!("{name} is absent instead of {expected}"),
        (Value::Null, _) => format!("{name} is {got} instead of absent"),
        _ => format!("{name} is {got} instead of {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(event: &Value, expected: Option<&[&str]>) {
        let rule = Expected {
            label: "IPv4",
            about: vec![("/kind", json!("drop")), ("/flow/destination_port", json!(80))],
            says: vec![("/drop/hook", json!("FORWARD")), ("/source/pod/name", json!("web")), ("/nat", Value::Null)],
        };
        let expected = expected.map(|texts| texts.iter().map(ToString::to_string).collect());
        assert_eq!(rule.judge(event), expected, "{event}");
    }

    #[test]
    fn only_what_is_right_in_all_fields_is_right() {
        let right = json!({"kind": "drop", "flow": {"destination_port": 80}, "drop": {"hook": "FORWARD"},
                           "source": {"pod": {"name": "web"}}});
        check(&right, Some(&[]));
        for (pointer, value, expected) in [
            ("/kind", json!("dns"), None),
            ("/flow/destination_port", json!("80"), None),
            ("/drop/hook", json!("INPUT"), Some(&["drop.hook is \"INPUT\" instead of \"FORWARD\""][..])),
            ("/source/pod", Value::Null, Some(&["source.pod.name is absent instead of \"web\""])),
        ] {
            let mut event = right.clone();
            if let Some(field) = event.pointer_mut(pointer) {
                *field = value;
            }
            check(&event, expected);
        }
        let mut more = right;
        more["nat"] = json!(1);
        check(&more, Some(&["nat is 1 instead of absent"]));
        check(&json!({}), None);
    }
}
