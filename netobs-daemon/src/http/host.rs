//! The Host check of the TCP listener, against DNS rebinding: a web page whose name was made to resolve to 127.0.0.1
//! still sends its own name in the Host header.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

/// Names that are allowed beside the loopback ones, in lower case and without port.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// Loopback names and addresses, and these.
    pub fn new(extra: &[String]) -> Self {
        Self(extra.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn allows(&self, authority: &Authority) -> bool {
        // Of an IPv6 address `host` keeps the brackets; a fully qualified name may end in a dot.
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            || self.0.contains(&host)
    }

    fn check(&self, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Box<Problem>> {
        let bad = |detail: &str| Box::new(Problem::new(StatusCode::BAD_REQUEST, detail));
        let mut values = headers.get_all(header::HOST).iter();
        let host = values.next();
        if values.next().is_some() {
            return Err(bad("more than one Host header (RFC 9112 section 3.2)"));
        }
        let host = match host {
            Some(host) => Some(
                host.to_str()
                    .ok()
                    .and_then(|host| host.parse::<Authority>().ok())
                    .ok_or_else(|| bad("the Host header is not HOST or HOST:PORT"))?,
            ),
            // A browser always sends one; what is left are simple probes that speak HTTP/1.0.
            None if version == Version::HTTP_10 => None,
            None => return Err(bad("an HTTP/1.1 request has to have a Host header (RFC 9112 section 3.2)")),
        };
        for authority in host.iter().chain(uri.authority()) {
            if !self.allows(authority) {
                let detail = format!(
                    "the host {:?} is not allowed: use localhost or a loopback address, or allow the name in the \
                     daemon's configuration",
                    authority.host()
                );
                return Err(Box::new(Problem::new(StatusCode::FORBIDDEN, detail)));
            }
        }
        Ok(())
    }
}

/// The middleware.
pub async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.check(request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn status(uri: &str, hosts: &[&str]) -> u16 {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        let allowed = Hosts::new(&["Node-7.example".to_owned()]);
        let result = allowed.check(Version::HTTP_11, &uri.parse().unwrap(), &headers);
        result.map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn only_loopback_and_what_is_configured() {
        for host in [
            "localhost",
            "LOCALHOST:7117",
            "localhost.",
            "127.0.0.1",
            "127.8.9.1:80",
            "[::1]:7117",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "node-7.example:7117",
        ] {
            assert_eq!(status("/", &[host]), 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example", "[::2]", "0.0.0.0"]
        {
            assert_eq!(status("/", &[host]), 403, "{host}");
        }
        assert_eq!(status("http://evil.example/", &["localhost"]), 403);
        assert_eq!(status("/", &[]), 400);
        assert_eq!(status("/", &["localhost", "localhost"]), 400);
        assert_eq!(status("/", &["a b"]), 400);
        assert_eq!(status("/", &[""]), 400);
    }
}
