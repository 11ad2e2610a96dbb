//! Bodies of failures, as a v1.36 server writes them (recorded), and of partial objects. Pure.

use serde_json::{Value, json};

use super::store::Resource;

/// A `Status` object.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    status
}

pub(super) fn not_found(resource: &Resource, name: &str) -> Value {
    let plural = &resource.plural;
    let mut body = status(404, "NotFound", &format!("{plural} {name:?} not found"));
    body["details"] = json!({"name": name, "kind": plural});
    body
}

pub(super) fn unknown_resource() -> Value {
    let mut body = status(404, "NotFound", "the server could not find the requested resource");
    body["details"] = json!({});
    body
}

/// A watch that starts before the oldest version known.
pub(super) fn too_old(asked: u64, oldest: u64) -> Value {
    status(410, "Expired", &format!("too old resource version: {asked} ({oldest})"))
}

/// A `continue` token whose list is forgotten.
pub(super) fn continue_expired() -> Value {
    status(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter.",
    )
}

/// A list at a version that has not been yet.
pub(super) fn in_the_future(asked: u64, current: u64) -> Value {
    let mut body = status(504, "Timeout", &format!("Timeout: Too large resource version: {asked}, current: {current}"));
    body["details"] = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    body
}

/// How a client wants its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    /// Only type and metadata: `Accept: application/json;as=PartialObjectMetadata…;g=meta.k8s.io;v=v1`.
    Partial,
}

impl Shape {
    /// From the Accept header.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("as=PartialObjectMetadata") { Self::Partial } else { Self::Whole }
    }

    /// An object in this shape.
    pub(super) fn object(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Partial => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
            }),
        }
    }

    /// An object as an item of a list: whole ones carry no kind there.
    pub(super) fn item(self, object: &Value) -> Value {
        let mut item = self.object(object);
        if self == Self::Whole
            && let Some(fields) = item.as_object_mut()
        {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        item
    }

    /// Kind and apiVersion of an object in this shape.
    pub(super) fn kind<'a>(self, kind: &'a str, group_version: &'a str) -> (&'a str, &'a str) {
        match self {
            Self::Whole => (kind, group_version),
            Self::Partial => ("PartialObjectMetadata", "meta.k8s.io/v1"),
        }
    }
}
