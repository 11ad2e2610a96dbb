//! How the API server misbehaves.

use std::time::Duration;

/// What the server does about `sendInitialEvents`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamingLists {
    /// Serves them (Kubernetes 1.32 and later).
    #[default]
    Served,
    /// Answers 422, as a server whose feature gate is off.
    Refused,
    /// Does not know the parameter: an ordinary watch without the end-bookmark, as servers before 1.27.
    Ignored,
}

/// The misbehaviour of the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Wait before each answer.
    pub(super) delay: Duration,
    /// Status and body of every answer.
    pub(super) failure: Option<(u16, String)>,
    /// Groups and versions that are as if unknown.
    pub(super) hidden_groups: Vec<String>,
    pub(super) streaming_lists: StreamingLists,
    /// Time between bookmarks; zero stands for the default.
    pub(super) bookmark_interval: Duration,
}
