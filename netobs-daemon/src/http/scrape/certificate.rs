//! The listener's certificate: from files that are read again when they change, or one that it makes for itself.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::expiry::not_after;

/// Largest file that is read: a chain of a few certificates has some kilobytes.
const MAX_FILE: u64 = 1 << 20;
/// Days that a certificate of our own holds.
const OWN_DAYS: i64 = 365;
/// Days before its end that it is replaced.
const RENEW_DAYS: i64 = 30;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files: the chain, the listener's own certificate first, and its key.
    Files {
        /// Path of the chain.
        certificate: PathBuf,
        /// Path of the key.
        key: PathBuf,
    },
    /// Made at start, and held in memory only. Nobody can check whose it is: it keeps the token from those who listen,
    /// not from those who stand in between.
    SelfSigned {
        /// Node name, for its subject.
        node: String,
    },
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds something else.
    #[error("{}: {reason}", path.display())]
    Contents {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// None could be made.
    #[error("no certificate could be made: {0}")]
    Own(String),
}

/// What TLS needs, and until when it holds.
#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    expires: Option<Timestamp>,
}

/// The certificate of the moment.
pub struct Certificates {
    source: CertificateSource,
    current: ArcSwap<Current>,
    /// What the files held when they were last looked at, good or bad.
    seen: Mutex<Vec<u8>>,
    problem: ArcSwap<Option<String>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads or makes the first one.
    pub fn new(source: CertificateSource) -> Result<Self, CertificateError> {
        let (current, seen) = match &source {
            CertificateSource::Files { certificate, key } => {
                let (chain, secret) = (read(certificate)?, read(key)?);
                (parse((certificate, &chain), (key, &secret))?, joined(&chain, &secret))
            }
            CertificateSource::SelfSigned { node } => (own(node)?, Vec::new()),
        };
        let (current, seen) = (ArcSwap::from_pointee(current), Mutex::new(seen));
        Ok(Self { source, current, seen, problem: ArcSwap::from_pointee(None) })
    }

    /// Looks at the files again. What cannot be used leaves the certificate as it is: a pair of which only one file has
    /// been replaced yet is such a case.
    pub fn refresh(&self) {
        match self.next() {
            Ok(None) => {}
            Ok(Some(next)) => {
                tracing::info!(expires = next.expires.map(|time| time.to_string()), "new certificate for the metrics");
                self.current.store(Arc::new(next));
                self.problem.store(Arc::new(None));
            }
            Err(error) => {
                let error = error.to_string();
                if self.problem.load().as_ref().as_ref() != Some(&error) {
                    tracing::warn!(error, "the certificate for the metrics stays as it is");
                    self.problem.store(Arc::new(Some(error)));
                }
            }
        }
    }

    fn next(&self) -> Result<Option<Current>, CertificateError> {
        match &self.source {
            CertificateSource::Files { certificate, key } => {
                let (chain, secret) = (read(certificate)?, read(key)?);
                let both = joined(&chain, &secret);
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                // After a failure to read them, unchanged files are as good as before.
                if *seen == both && self.problem.load().is_none() {
                    return Ok(None);
                }
                *seen = both;
                parse((certificate, &chain), (key, &secret)).map(Some)
            }
            CertificateSource::SelfSigned { node } => {
                let soon = Timestamp::now() + (RENEW_DAYS * 24).hours();
                let ends = self.current.load().expires.is_none_or(|expires| expires < soon);
                ends.then(|| own(node)).transpose()
            }
        }
    }

    /// Until when it holds.
    pub fn expires(&self) -> Option<Timestamp> {
        self.current.load().expires
    }

    /// `files` or `self-signed`.
    pub const fn source(&self) -> &'static str {
        match self.source {
            CertificateSource::Files { .. } => "files",
            CertificateSource::SelfSigned { .. } => "self-signed",
        }
    }

    /// Why the files as they are now are not used.
    pub fn problem(&self) -> Option<String> {
        self.problem.load().as_ref().clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::File { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn joined(chain: &[u8], key: &[u8]) -> Vec<u8> {
    // A digest would do, but for that the key's is no better kept than the key, which TLS holds anyway.
    [chain, b"\0", key].concat()
}

fn parse((chain_path, chain): (&Path, &[u8]), (key_path, key): (&Path, &[u8])) -> Result<Current, CertificateError> {
    let wrong = |path: &Path, reason: String| CertificateError::Contents { path: path.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(chain_path, error.to_string()))?;
    let first = chain.first().ok_or_else(|| wrong(chain_path, "no certificate in PEM form".to_owned()))?;
    let expires = not_after(first);
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(key_path, error.to_string()))?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|error| wrong(key_path, format!("not usable with {}: {error}", chain_path.display())))?;
    Ok(Current { key: Arc::new(key), expires })
}

/// A certificate that signs itself, with a key that is nowhere else.
fn own(node: &str) -> Result<Current, CertificateError> {
    let failed = |error: &dyn fmt::Display| CertificateError::Own(error.to_string());
    let day = |timestamp: Timestamp| {
        let date = timestamp.to_zoned(jiff::tz::TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::new([node.to_owned()]).map_err(|error| failed(&error))?;
    params.distinguished_name.push(DnType::CommonName, format!("netobs on {node}"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = Timestamp::now();
    // A day before: clocks differ.
    (params.not_before, params.not_after) = (day(now - 24.hours()), day(now + (OWN_DAYS * 24).hours()));
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?.der().clone();
    let expires = not_after(&certificate);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = CertifiedKey::from_der(vec![certificate], key, &rustls::crypto::ring::default_provider())
        .map_err(|error| failed(&error))?;
    Ok(Current { key: Arc::new(key), expires })
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
