//! `TokenReview` and `SubjectAccessReview`: whose a token is, and what its owner may read, as the lab has said. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::status::status;

/// Known tokens and what users may read.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    /// User by token.
    tokens: BTreeMap<String, String>,
    /// Users and the paths that they may `get`.
    allowed: BTreeSet<(String, String)>,
}

impl Reviews {
    pub(super) fn know(&mut self, token: &str, user: &str) {
        self.tokens.insert(token.to_owned(), user.to_owned());
    }

    pub(super) fn allow(&mut self, user: &str, path: &str) {
        self.allowed.insert((user.to_owned(), path.to_owned()));
    }

    /// Status code and body of the answer to a POST; `None` for what is no review.
    pub(super) fn answer(&self, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let (kind, review): (&str, fn(&Self, &Value) -> Value) = match path {
            "/apis/authentication.k8s.io/v1/tokenreviews" => ("TokenReview", Self::token),
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => ("SubjectAccessReview", Self::access),
            _ => return None,
        };
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let group_version = path.trim_start_matches("/apis/").rsplit_once('/').map_or("", |(group, _)| group);
        if asked["kind"] != kind || asked["apiVersion"] != group_version {
            return Some((400, status(400, "BadRequest", "the object provided is unrecognized")));
        }
        // A real server repeats what it was asked, the token included.
        let (spec, status) = (&asked["spec"], review(self, &asked["spec"]));
        Some((201, json!({"kind": kind, "apiVersion": group_version, "metadata": {}, "spec": spec, "status": status})))
    }

    fn token(&self, spec: &Value) -> Value {
        let Some(user) = spec["token"].as_str().and_then(|token| self.tokens.get(token)) else {
            return json!({"user": {}, "error": "[invalid bearer token, token lookup failed]"});
        };
        json!({
            "authenticated": true,
            "audiences": ["https://kubernetes.default.svc"],
            "user": {
                "username": user,
                "uid": format!("uid-of-{user}"),
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/node-name": ["node-a"]},
            },
        })
    }

    /// Only a whole question has a yes: the user as the other review told it.
    fn access(&self, spec: &Value) -> Value {
        let user = spec["user"].as_str().unwrap_or_default();
        let asked = &spec["nonResourceAttributes"];
        let path = asked["path"].as_str().unwrap_or_default();
        let whole = spec["uid"] == format!("uid-of-{user}")
            && spec["groups"].as_array().is_some_and(|groups| groups.contains(&json!("system:authenticated")))
            && spec["extra"]["authentication.kubernetes.io/node-name"] == json!(["node-a"]);
        let allowed = whole && asked["verb"] == "get" && self.allowed.contains(&(user.to_owned(), path.to_owned()));
        json!({"allowed": allowed, "reason": if allowed { "RBAC: allowed by ClusterRoleBinding \"lab\"" } else { "" }})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TOKENS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
    const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

    #[test]
    fn two_reviews_that_fit_together() {
        let mut reviews = Reviews::default();
        reviews.know("abc", "prometheus");
        reviews.allow("prometheus", "/metrics");
        let ask = |path: &str, kind: &str, group: &str, spec: Value| {
            let body = json!({"kind": kind, "apiVersion": group, "spec": spec}).to_string();
            reviews.answer(path, body.as_bytes()).unwrap()
        };
        let token = |token: &str| ask(TOKENS, "TokenReview", "authentication.k8s.io/v1", json!({"token": token}));
        let (code, known) = token("abc");
        assert_eq!((code, &known["status"]["authenticated"]), (201, &json!(true)));
        assert_eq!(token("abd").1["status"].get("authenticated"), None);
        let access = |path: &str, extra: &Value| {
            let user = &known["status"]["user"];
            let spec = json!({
                "user": user["username"], "uid": user["uid"], "groups": user["groups"], "extra": extra,
                "nonResourceAttributes": {"path": path, "verb": "get"},
            });
            ask(ACCESS, "SubjectAccessReview", "authorization.k8s.io/v1", spec).1["status"]["allowed"] == true
        };
        let extra = &known["status"]["user"]["extra"];
        assert!(access("/metrics", extra));
        assert!(!access("/logs", extra) && !access("/metrics", &Value::Null));
        assert_eq!(ask(ACCESS, "TokenReview", "authentication.k8s.io/v1", json!({})).0, 400);
        assert_eq!(reviews.answer("/api/v1/pods", b"{}"), None);
    }
}
