//! What a request asks for: path and query, parsed. Pure.

use std::collections::HashMap;

use serde_json::Value;

use super::store::Resource;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/version`.
    Version,
    /// `/healthz`, `/readyz`, `/livez`.
    Health,
    /// A list, or a watch.
    Collection { resource: Resource, namespace: Option<String> },
    /// One object.
    Object { resource: Resource, namespace: String, name: String },
    /// Anything else.
    Unknown,
}

impl Target {
    /// `/api/v1/…` and `/apis/GROUP/VERSION/…`.
    pub(super) fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group_version, rest) = match parts.as_slice() {
            ["version"] => return Self::Version,
            ["healthz" | "readyz" | "livez"] => return Self::Health,
            ["api", "v1", rest @ ..] => ("v1".to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Self::Unknown,
        };
        let resource = |plural: &str| Resource { group_version: group_version.clone(), plural: plural.to_owned() };
        match rest {
            // A namespace itself is an object of a resource without namespaces.
            ["namespaces", namespace, plural] => {
                Self::Collection { resource: resource(plural), namespace: Some((*namespace).to_owned()) }
            }
            ["namespaces", namespace, plural, name] => Self::Object {
                resource: resource(plural),
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
            },
            [plural] => Self::Collection { resource: resource(plural), namespace: None },
            [plural, name] => {
                Self::Object { resource: resource(plural), namespace: String::new(), name: (*name).to_owned() }
            }
            _ => Self::Unknown,
        }
    }
}

/// The query of a list or watch.
#[derive(Debug, Default)]
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (decode(key), decode(value))).collect())
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Go's `ParseBool` as far as clients use it.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "t" | "true" | "True" | "TRUE"))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1) and `+` for a blank, as Go's `net/url` does in queries.
fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high << 4 | low) as u8,
                    _ => b'%',
                }
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Which objects a list or watch selects.
#[derive(Debug, Default)]
pub(super) struct Selection {
    namespace: Option<String>,
    fields: Vec<(&'static str, String, bool)>,
    labels: Vec<(String, String, bool)>,
}

/// Field selectors of pods and of everything, as JSON pointers.
const FIELDS: [(&str, &str); 5] = [
    ("metadata.name", "/metadata/name"),
    ("metadata.namespace", "/metadata/namespace"),
    ("spec.nodeName", "/spec/nodeName"),
    ("status.phase", "/status/phase"),
    ("status.podIP", "/status/podIP"),
];

impl Selection {
    /// From a query; the error is the message of a 400.
    pub(super) fn parse(namespace: Option<String>, query: &Query) -> Result<Self, String> {
        let mut fields = Vec::new();
        for (key, value, equal) in terms(query.get("fieldSelector"))? {
            let pointer = FIELDS.iter().find(|(name, _)| *name == key).map(|(_, pointer)| *pointer);
            fields.push((pointer.ok_or_else(|| format!("field label not supported: {key}"))?, value, equal));
        }
        Ok(Self { namespace, fields, labels: terms(query.get("labelSelector"))? })
    }

    pub(super) fn fits(&self, object: &Value) -> bool {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        self.namespace.as_ref().is_none_or(|namespace| object["metadata"]["namespace"] == **namespace)
            && self.fields.iter().all(|(pointer, value, equal)| (text(object.pointer(pointer)) == *value) == *equal)
            && self.labels.iter().all(|(key, value, equal)| {
                (object["metadata"]["labels"].get(key).and_then(Value::as_str) == Some(value)) == *equal
            })
    }
}

/// `a=b,c!=d` (also `==`). Set-based label selectors are not supported by this server.
fn terms(text: Option<&str>) -> Result<Vec<(String, String, bool)>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    text.split(',')
        .map(|term| {
            let (key, value, equal) = if let Some((key, value)) = term.split_once("!=") {
                (key, value, false)
            } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
                (key, value, true)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{term}'"));
            };
            Ok((key.trim().to_owned(), value.trim().to_owned(), equal))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let resource = |gv: &str, plural: &str| Resource { group_version: gv.into(), plural: plural.into() };
        assert_eq!(
            Target::parse("/apis/discovery.k8s.io/v1/endpointslices"),
            Target::Collection { resource: resource("discovery.k8s.io/v1", "endpointslices"), namespace: None }
        );
        assert_eq!(
            Target::parse("/apis/apps/v1/namespaces/shop/replicasets/web-1"),
            Target::Object {
                resource: resource("apps/v1", "replicasets"),
                namespace: "shop".into(),
                name: "web-1".into()
            }
        );
        assert_eq!(
            Target::parse("/api/v1/nodes/node-a"),
            Target::Object { resource: resource("v1", "nodes"), namespace: String::new(), name: "node-a".into() }
        );
        assert_eq!(Target::parse("/nothing/here/at/all"), Target::Unknown);
    }

    #[test]
    fn selectors() {
        let pod = json!({"metadata": {"namespace": "shop", "labels": {"app": "web"}}, "spec": {"nodeName": "node-a"}});
        let fits =
            |query: &str| Selection::parse(None, &Query::parse(Some(query))).map(|selection| selection.fits(&pod));
        assert_eq!(fits("fieldSelector=spec.nodeName%3Dnode-a"), Ok(true));
        assert_eq!(fits("fieldSelector=spec.nodeName=node-b"), Ok(false));
        assert_eq!(fits("fieldSelector=spec.nodeName!=node-b&labelSelector=app=web"), Ok(true));
        assert_eq!(fits("fieldSelector=spec.color=red"), Err("field label not supported: spec.color".into()));
        assert!(fits("labelSelector=app").is_err());
        assert!(!Selection::parse(Some("test".into()), &Query::default()).unwrap().fits(&pod));
    }
}
