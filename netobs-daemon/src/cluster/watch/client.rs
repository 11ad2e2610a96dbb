//! The API server's client and what can go wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// The configuration for the API server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig that was asked for.
    #[error("kubeconfig {}: {reason}; give a readable one with --kubeconfig, or names from a file with --metadata-file", path.display())]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No kubeconfig and no service account.
    #[error(
        "no API server configuration found ({0}); give one with --kubeconfig, or names from a file with --metadata-file"
    )]
    None(String),
    /// The TLS or authentication part of the configuration.
    #[error("API server configuration: {0}")]
    Build(String),
}

/// A client from a kubeconfig, else from `KUBECONFIG`, `~/.kube/config` or the pod's service account.
pub(in crate::cluster) async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let failed = |reason: String| ClientError::Kubeconfig { path: path.to_owned(), reason };
            let file = Kubeconfig::read_from(path).map_err(|error| failed(chain(&error)))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| failed(chain(&error)))?
        }
        None => Config::infer().await.map_err(|error| ClientError::None(chain(&error)))?,
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    // The API server's own logs and flow control go by it.
    let agent = HeaderValue::from_static(concat!("netobs/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    // Retries are the watch's own, which shows them in the status.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ClientError::Build(chain(&error)))
}

/// What went wrong with a request.
#[derive(Debug)]
pub(super) struct Failure {
    /// HTTP status, or the code of a Status object; `None` when there was no answer.
    pub(super) code: Option<u16>,
    /// For people.
    pub(super) message: String,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), retry_after: None }
    }

    pub(super) fn of_status(status: &kube::core::Status) -> Self {
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        Self {
            code: Some(status.code),
            message: format!("{} (code {})", bounded(&status.message), status.code),
            retry_after: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
        }
    }

    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            other => Self::new(bounded(&chain(other))),
        }
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// At most 300 characters: what a proxy answers may be a whole page.
fn bounded(text: &str) -> String {
    text.chars().take(300).collect()
}
