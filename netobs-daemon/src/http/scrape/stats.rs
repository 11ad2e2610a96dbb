//! What the listener did, for `/metrics` and `/v1/status`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::certificate::Certificates;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeResult {
    /// 200.
    Served,
    /// 401: no token, or nobody's.
    Unauthenticated,
    /// 403: the cluster does not allow it.
    Forbidden,
    /// 503: the API server could not be asked.
    Unavailable,
    /// Anything else than GET of `/metrics`.
    Refused,
}

/// How a connection ended that carried no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its peer had as many as one may have.
    TooMany,
    /// No TLS, or not in time.
    Handshake,
}

impl ScrapeResult {
    /// All, with their names.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Served, "served"),
        (Self::Unauthenticated, "unauthenticated"),
        (Self::Forbidden, "forbidden"),
        (Self::Unavailable, "unavailable"),
        (Self::Refused, "refused"),
    ];
}

impl Lost {
    /// All, with their names.
    pub const ALL: [(Self, &str); 2] = [(Self::TooMany, "too_many"), (Self::Handshake, "handshake")];
}

/// The counters, and where the listener is, once there is one.
#[derive(Debug, Default)]
pub struct ScrapeStats {
    requests: [AtomicU64; ScrapeResult::ALL.len()],
    lost: [AtomicU64; Lost::ALL.len()],
    listener: OnceLock<(SocketAddr, Arc<Certificates>)>,
}

/// The listener for metrics over the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrapeStatus {
    /// Where it listens.
    pub address: String,
    /// Where its certificate comes from: `files` or `self-signed`.
    pub certificate: String,
    /// When the certificate ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires: Option<String>,
    /// Why the files as they are now are not used; the certificate is the last good one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_problem: Option<String>,
}

impl ScrapeStats {
    /// A request ended.
    pub fn request(&self, result: ScrapeResult) {
        self.requests[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection ended without one.
    pub fn lost(&self, why: Lost) {
        self.lost[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Says where the listener is.
    pub(crate) fn listens(&self, address: SocketAddr, certificates: Arc<Certificates>) {
        // There is one listener in a process.
        let _ = self.listener.set((address, certificates));
    }

    /// Requests by result.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ScrapeResult::ALL
            .into_iter()
            .map(|(result, name)| (name, self.requests[result as usize].load(Ordering::Relaxed)))
    }

    /// Connections without a request, by cause.
    pub fn lost_connections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Lost::ALL.into_iter().map(|(why, name)| (name, self.lost[why as usize].load(Ordering::Relaxed)))
    }

    /// When the certificate ends.
    pub fn expires(&self) -> Option<Timestamp> {
        self.listener.get()?.1.expires()
    }

    /// For the status; `None` without a listener.
    pub fn status(&self) -> Option<ScrapeStatus> {
        let (address, certificates) = self.listener.get()?;
        Some(ScrapeStatus {
            address: address.to_string(),
            certificate: certificates.source().to_owned(),
            certificate_expires: certificates.expires().map(|time| time.to_string()),
            certificate_problem: certificates.problem(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_counter() {
        let stats = ScrapeStats::default();
        for (index, (result, _)) in ScrapeResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, index);
            stats.request(result);
        }
        for (index, (why, _)) in Lost::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            stats.lost(why);
        }
        assert!(stats.requests().chain(stats.lost_connections()).all(|(_, count)| count == 1));
        assert_eq!(stats.status(), None);
    }
}
