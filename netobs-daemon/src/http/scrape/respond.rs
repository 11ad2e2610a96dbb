//! What a request over the network is answered with.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::authorize::{Authorizer, Token, Verdict};
use super::stats::ScrapeResult;
use crate::http::api::Api;
use crate::http::metrics;
use crate::http::problem::Problem;

/// The path that is served, and that the cluster is asked about.
pub const PATH: &str = "/metrics";

/// Why a request is not served.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    result: ScrapeResult,
    status: StatusCode,
    detail: &'static str,
}

/// Answers requests.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    pub(super) api: Arc<Api>,
    pub(super) authorizer: Authorizer,
}

impl Responder {
    /// Answers, and counts.
    pub(super) async fn respond(self, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
        let (result, mut response) = match self.decide(&method, &uri, &headers).await {
            Ok(()) => match metrics::respond(&self.api, &uri, &headers) {
                Ok(response) => (ScrapeResult::Served, response),
                Err(problem) => (ScrapeResult::Refused, problem.into_response()),
            },
            Err(Refusal { result, status, detail }) => {
                let mut response = Problem::new(status, detail).into_response();
                if result == ScrapeResult::Unauthenticated {
                    // RFC 6750 section 3; without an error code where there was no token.
                    let challenge = HeaderValue::from_static("Bearer realm=\"netobs metrics\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                }
                (result, response)
            }
        };
        if result != ScrapeResult::Served {
            // hyper ends the connection after it: whoever is not let in keeps no place by being idle.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.api.scrape.request(result);
        response
    }

    async fn decide(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let refuse = |result, status, detail| Err(Refusal { result, status, detail });
        if uri.path() != PATH {
            return refuse(ScrapeResult::Refused, StatusCode::NOT_FOUND, "there is only /metrics here");
        }
        if method != Method::GET && method != Method::HEAD {
            let detail = "/metrics cannot be asked with this method, only with GET and HEAD";
            return refuse(ScrapeResult::Refused, StatusCode::METHOD_NOT_ALLOWED, detail);
        }
        let Some(token) = Token::of(headers) else {
            let detail = "a token of the cluster is needed: Authorization: Bearer TOKEN";
            return refuse(ScrapeResult::Unauthenticated, StatusCode::UNAUTHORIZED, detail);
        };
        match self.authorizer.decide(token).await {
            Some(Verdict::Allowed) => Ok(()),
            Some(Verdict::Unauthenticated) => {
                let detail = "the cluster does not know this token";
                refuse(ScrapeResult::Unauthenticated, StatusCode::UNAUTHORIZED, detail)
            }
            Some(Verdict::Forbidden) => {
                let detail = "the cluster does not allow it: a ClusterRole with the verb `get` on the nonResourceURL \
                              `/metrics` is needed";
                refuse(ScrapeResult::Forbidden, StatusCode::FORBIDDEN, detail)
            }
            None => {
                let detail = "the API server cannot be asked now who may read the metrics";
                refuse(ScrapeResult::Unavailable, StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}
