//! What a pod is a pod of.

use crate::pod::generated;
use crate::random;

/// The controller of a pod, and the controller's controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A bare pod.
    None,
    /// A direct owner: `StatefulSet`, `DaemonSet`, a bare `ReplicaSet` or `Job`.
    Direct(Owner),
    /// A pod of a `ReplicaSet` or `Job` that itself belongs to a `Deployment` or `CronJob`.
    Through {
        /// The pod's owner.
        owner: Owner,
        /// The owner's owner: what a person would call the workload.
        top: Owner,
    },
}

/// One end of an owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `apps/v1` or `batch/v1`.
    pub api_version: String,
    /// `ReplicaSet`, …
    pub kind: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl Owner {
    /// An owner of one of the kinds of `apps/v1` or `batch/v1`. The UID follows from kind, namespace and name, so
    /// that pods of one workload have one owner.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        let api_version = if matches!(kind, "Job" | "CronJob") { "batch/v1" } else { "apps/v1" };
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            uid: random::uuid_of(&format!("{kind}/{namespace}/{name}")),
        }
    }

    /// Name of the resource in the API's paths: `replicasets`.
    pub fn resource(&self) -> String {
        format!("{}s", self.kind.to_lowercase())
    }
}

impl Workload {
    /// A Deployment's pod.
    pub fn deployment(namespace: &str, name: &str) -> Self {
        let top = Owner::new("Deployment", namespace, name);
        let hash = top.uid[..8].to_owned();
        Self::Through { owner: Owner::new("ReplicaSet", namespace, &format!("{name}-{hash}")), top }
    }

    /// A `CronJob`'s pod; each call is a run of its own.
    pub fn cron_job(namespace: &str, name: &str) -> Self {
        let run = generated(name, 6);
        Self::Through { owner: Owner::new("Job", namespace, &run), top: Owner::new("CronJob", namespace, name) }
    }

    /// A pod of a `StatefulSet`, `DaemonSet`, `Job` or bare `ReplicaSet`.
    pub fn direct(kind: &str, namespace: &str, name: &str) -> Self {
        Self::Direct(Owner::new(kind, namespace, name))
    }

    /// The pod's own owner.
    pub const fn owner(&self) -> Option<&Owner> {
        match self {
            Self::None => None,
            Self::Direct(owner) | Self::Through { owner, .. } => Some(owner),
        }
    }

    /// What a person would call the workload.
    pub const fn top(&self) -> Option<&Owner> {
        match self {
            Self::None => None,
            Self::Direct(owner) | Self::Through { top: owner, .. } => Some(owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_one_deployment_have_one_owner() {
        assert_eq!(Workload::deployment("shop", "web"), Workload::deployment("shop", "web"));
        assert_ne!(Workload::deployment("shop", "web"), Workload::deployment("test", "web"));
    }

    #[test]
    fn names_of_resources() {
        assert_eq!(Owner::new("ReplicaSet", "a", "b").resource(), "replicasets");
        assert_eq!(Owner::new("Job", "a", "b").api_version, "batch/v1");
    }
}
