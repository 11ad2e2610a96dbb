//! The metrics over the network: opens the socket before anything is attached, and lets the cluster decide who may read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::{Access, AccessReviews};
use crate::http::Api;
use crate::http::scrape::{
    self, CertificateSource, Certificates, Reviews, ScrapeConfig, ScrapeLimits, ScrapeParts, Token, Verdict,
};

/// An open socket that serves nothing yet.
pub struct Bound(ScrapeParts);

/// Opens the socket, reads the certificate and connects to the API server's configuration.
pub async fn bind(config: &ScrapeConfig, node: &str) -> Result<Bound> {
    let source = match &config.files {
        Some((certificate, key)) => CertificateSource::Files { certificate: certificate.clone(), key: key.clone() },
        None => CertificateSource::SelfSigned { node: node.to_owned() },
    };
    let certificates = Certificates::new(source).context("--metrics-tls-cert and --metrics-tls-key")?;
    let reviews = AccessReviews::connect(config.kubeconfig.as_deref()).await.context("--metrics-listen")?;
    let address = config.listen;
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--metrics-listen: cannot listen on {address}"))?;
    Ok(Bound(ScrapeParts { listener, certificates: Arc::new(certificates), reviews: Arc::new(Cluster(reviews)) }))
}

impl Bound {
    /// Serves until the API ends, and at most so long after it.
    pub fn serve(self, api: &Arc<Api>, drain: Duration) -> Result<JoinHandle<()>> {
        let source = self.0.certificates.source();
        let limits = ScrapeLimits { drain, ..ScrapeLimits::default() };
        let (address, task) = scrape::serve(self.0, api, limits).context("--metrics-listen")?;
        tracing::info!(certificate = source, "metrics on https://{address}/metrics for whom the cluster allows");
        Ok(task)
    }
}

/// The API server, as the listener asks it.
struct Cluster(AccessReviews);

impl Reviews for Cluster {
    fn review(&self, token: Token) -> BoxFuture<'static, Result<Verdict, String>> {
        let reviews = self.0.clone();
        async move {
            match reviews.may_get(token.secret(), scrape::PATH).await {
                Ok(Access::Allowed) => Ok(Verdict::Allowed),
                Ok(Access::Forbidden) => Ok(Verdict::Forbidden),
                Ok(Access::Unauthenticated) => Ok(Verdict::Unauthenticated),
                Err(error) => Err(error.to_string()),
            }
        }
        .boxed()
    }
}
