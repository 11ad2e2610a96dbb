//! Asks the API server whose a token is and whether its owner may do a thing: authentication and authorisation delegated to
//! the cluster, as the kubelet does it.
//!
//! Requests and answers carry the token (a `TokenReview`'s answer repeats it), so none of them, nor any message of the API
//! server about them, goes into an error or a log: errors here are words of this program and status codes.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::watch::{ClientError, connect};

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
/// The API server has to answer a review within this time. It does in milliseconds, unless a webhook is asked in turn.
const ANSWER: Duration = Duration::from_secs(5);
/// Largest answer: a user's groups and extra fields are some kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// What the cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The token's owner may.
    Allowed,
    /// The token's owner may not.
    Forbidden,
    /// It is nobody's token.
    Unauthenticated,
}

/// The API server could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// No connection.
    #[error("no connection to the API server")]
    NoConnection,
    /// No answer in time.
    #[error("no answer from the API server within {ANSWER:?}")]
    NoAnswer,
    /// It does not let the daemon ask.
    #[error(
        "the API server does not let this daemon create {0} (code {1}): grant it the ClusterRole system:auth-delegator"
    )]
    NotAllowed(&'static str, u16),
    /// Another refusal.
    #[error("the API server answered {1} when asked to create {0}")]
    Refused(&'static str, u16),
    /// Something else than a review.
    #[error("the API server's answer to {0} is none")]
    Answer(&'static str),
}

/// Asks the API server; a client of its own, so that it waits for no watch.
#[derive(Clone)]
pub struct AccessReviews {
    client: Client,
}

impl std::fmt::Debug for AccessReviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessReviews").finish_non_exhaustive()
    }
}

/// What of a `TokenReview`'s answer is read.
#[derive(Deserialize)]
struct TokenAnswer {
    status: TokenStatus,
}

#[derive(Deserialize)]
struct TokenStatus {
    #[serde(default)]
    authenticated: bool,
    user: Option<UserInfo>,
}

/// What of a `SubjectAccessReview`'s answer is read.
#[derive(Deserialize)]
struct AccessAnswer {
    status: AccessStatus,
}

#[derive(Deserialize)]
struct AccessStatus {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

impl AccessReviews {
    /// With a kubeconfig, else `KUBECONFIG`, `~/.kube/config` or the pod's service account.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Self, ClientError> {
        Ok(Self { client: connect(kubeconfig).await? })
    }

    /// Whether the token's owner may `get` a path that is no resource.
    pub async fn may_get(&self, token: &str, path: &str) -> Result<Access, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
            ..TokenReview::default()
        };
        let answer: TokenAnswer = self.create("tokenreviews", TOKEN_REVIEWS, &review).await?;
        // Without a user there is nobody to ask about: such an answer lets nobody in.
        let (true, Some(user)) = (answer.status.authenticated, answer.status.user) else {
            return Ok(Access::Unauthenticated);
        };
        let attributes = NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
                non_resource_attributes: Some(attributes),
                resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let answer: AccessAnswer = self.create("subjectaccessreviews", ACCESS_REVIEWS, &review).await?;
        let allowed = answer.status.allowed && !answer.status.denied;
        Ok(if allowed { Access::Allowed } else { Access::Forbidden })
    }

    /// Not `kube::Api::create`: that logs an answer which it cannot read, and with it the token.
    async fn create<A: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        review: &impl Serialize,
    ) -> Result<A, ReviewError> {
        let body = serde_json::to_vec(review).map_err(|_| ReviewError::Answer(what))?;
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        let request = request.body(Body::from(body)).map_err(|_| ReviewError::NoConnection)?;
        let asked = async {
            let response = self.client.send(request).await.map_err(|_| ReviewError::NoConnection)?;
            let code = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            match code.as_u16() {
                200..=299 => body.map(http_body_util::Collected::to_bytes).map_err(|_| ReviewError::Answer(what)),
                // 401: the daemon's own credentials.
                code @ (401 | 403) => Err(ReviewError::NotAllowed(what, code)),
                code => Err(ReviewError::Refused(what, code)),
            }
        };
        let body = timeout(ANSWER, asked).await.map_err(|_| ReviewError::NoAnswer)??;
        serde_json::from_slice(&body).map_err(|_| ReviewError::Answer(what))
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
