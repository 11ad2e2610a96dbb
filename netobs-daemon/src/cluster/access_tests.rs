//! What is asked, and what each answer means.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::*;

type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server that answers each request with the next of these.
fn server(answers: Vec<(u16, Value)>) -> (AccessReviews, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let answers = Arc::new(answers);
    let answer = move |method: Method, uri: Uri, body: String| {
        let mut seen = seen.lock().unwrap();
        let (code, answer) = answers[seen.len()].clone();
        seen.push((format!("{method} {uri}"), serde_json::from_str(&body).unwrap()));
        std::future::ready((StatusCode::from_u16(code).unwrap(), answer.to_string()))
    };
    (AccessReviews { client: Client::new(Router::new().fallback(answer), "default") }, asked)
}

fn known() -> Value {
    json!({"kind": "TokenReview", "spec": {"token": "abc"}, "status": {"authenticated": true, "user": {
        "username": "system:serviceaccount:monitoring:prometheus", "uid": "u-1", "groups": ["system:authenticated"],
        "extra": {"authentication.kubernetes.io/pod-name": ["prometheus-0"]},
    }}})
}

async fn check(answers: Vec<(u16, Value)>, expected: Result<Access, ReviewError>) -> Vec<(String, Value)> {
    let (reviews, asked) = server(answers);
    assert_eq!(reviews.may_get("abc", "/metrics").await, expected);
    asked.lock().unwrap().clone()
}

#[tokio::test]
async fn whose_and_whether() {
    let allowed = json!({"status": {"allowed": true, "reason": "RBAC"}});
    let asked = check(vec![(201, known()), (201, allowed)], Ok(Access::Allowed)).await;
    assert_eq!(asked[0].0, "POST /apis/authentication.k8s.io/v1/tokenreviews");
    assert_eq!(asked[0].1["spec"], json!({"token": "abc"}));
    assert_eq!(
        (&asked[0].1["kind"], &asked[0].1["apiVersion"]),
        (&json!("TokenReview"), &json!("authentication.k8s.io/v1"))
    );
    assert_eq!(asked[1].0, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews");
    assert_eq!(
        asked[1].1["spec"],
        json!({
            "user": "system:serviceaccount:monitoring:prometheus", "uid": "u-1", "groups": ["system:authenticated"],
            "extra": {"authentication.kubernetes.io/pod-name": ["prometheus-0"]},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        })
    );
}

#[tokio::test]
async fn nothing_but_a_plain_yes_lets_in() {
    for status in [json!({"allowed": false}), json!({}), json!({"allowed": true, "denied": true})] {
        check(vec![(201, known()), (201, json!({"status": status}))], Ok(Access::Forbidden)).await;
    }
    for status in
        [json!({}), json!({"authenticated": false, "error": "[invalid bearer token]"}), json!({"authenticated": true})]
    {
        let asked = check(vec![(201, json!({"status": status}))], Ok(Access::Unauthenticated)).await;
        assert_eq!(asked.len(), 1);
    }
}

#[tokio::test]
async fn no_error_repeats_the_token() {
    let token = json!("tokenreviews abc is forbidden");
    for (code, expected) in [
        (403, ReviewError::NotAllowed("tokenreviews", 403)),
        (401, ReviewError::NotAllowed("tokenreviews", 401)),
        (500, ReviewError::Refused("tokenreviews", 500)),
        (201, ReviewError::Answer("tokenreviews")),
    ] {
        assert!(!expected.to_string().contains("abc"));
        check(vec![(code, token.clone())], Err(expected)).await;
    }
    let second = (429, json!({"message": "abc"}));
    check(vec![(201, known()), second], Err(ReviewError::Refused("subjectaccessreviews", 429))).await;
}
