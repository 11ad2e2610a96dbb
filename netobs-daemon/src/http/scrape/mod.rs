//! The metrics over the network: TLS always, `/metrics` only, and the cluster decides who may read.
//!
//! A client brings a bearer token. The API server says whose it is (`TokenReview`) and whether that user may `get` the path
//! `/metrics` (`SubjectAccessReview`), as for the kubelet's own metrics. While it cannot be asked, nobody new is let in.
//!
//! Everything that comes before a decision is bounded: connections, those of one peer, the time of a handshake and of a
//! request's header, the header's size, the reviews. Whoever is not let in is hung up on after the answer.

pub mod authorize;
mod cache;
pub mod certificate;
mod expiry;
mod peers;
mod respond;
pub mod serve;
pub mod stats;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use authorize::{Authorizer, ReviewLimits, Reviews, Token, Verdict};
pub use certificate::{CertificateError, CertificateSource, Certificates};
pub use respond::PATH;
pub use serve::{ScrapeLimits, ScrapeParts, serve};
pub use stats::{ScrapeResult, ScrapeStats, ScrapeStatus};

/// What is configured of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Paths of certificate and key; `None`: a certificate of our own.
    pub files: Option<(PathBuf, PathBuf)>,
    /// For the API server, which decides.
    pub kubeconfig: Option<PathBuf>,
}
