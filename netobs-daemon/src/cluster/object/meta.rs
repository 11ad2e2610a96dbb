//! Object metadata: the few fields of it that are used.

use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer};

use super::{Key, null_default};

/// Metadata of an object. It carries a `kube` [`ObjectMeta`] as well, filled with no more than the name, the namespace,
/// the UID and the resource version, because `kube`'s watcher asks for one.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// What `kube` sees.
    pub(super) object: ObjectMeta,
    /// Label `pod-template-hash`, set by the Deployment controller on its `ReplicaSets` and their pods.
    pub pod_template_hash: Option<String>,
    /// Annotation `kubernetes.io/config.hash` of a static pod: the UID the kubelet knows it by.
    pub config_hash: Option<String>,
    /// Annotation `kubernetes.io/config.mirror` of a mirror pod: the config hash of its static pod.
    pub config_mirror: Option<String>,
    /// The controller among the owner references.
    pub controller: Option<Owner>,
}

/// A controller owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind, for example `ReplicaSet`.
    pub kind: String,
    /// Group and version, for example `apps/v1`.
    pub api_version: String,
    /// Name; the namespace is the object's own.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl Meta {
    /// Name and namespace; `None` without a name.
    pub(super) fn key(&self) -> Option<Key> {
        let name = self.object.name.clone().filter(|name| !name.is_empty())?;
        Some(Key { namespace: self.object.namespace.clone().unwrap_or_default(), name })
    }

    /// UID.
    pub fn uid(&self) -> Option<&str> {
        self.object.uid.as_deref().filter(|uid| !uid.is_empty())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    #[serde(deserialize_with = "null_default")]
    labels: Labels,
    #[serde(deserialize_with = "null_default")]
    annotations: Annotations,
    #[serde(deserialize_with = "null_default")]
    owner_references: Vec<WireOwner>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Labels {
    #[serde(rename = "pod-template-hash")]
    pod_template_hash: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.hash")]
    config_hash: Option<String>,
    #[serde(rename = "kubernetes.io/config.mirror")]
    config_mirror: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireOwner {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    controller: Option<bool>,
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let controller = wire.owner_references.into_iter().find(|owner| owner.controller == Some(true));
        Ok(Self {
            object: ObjectMeta {
                name: wire.name,
                namespace: wire.namespace,
                uid: wire.uid,
                resource_version: wire.resource_version,
                ..ObjectMeta::default()
            },
            pod_template_hash: wire.labels.pod_template_hash,
            config_hash: wire.annotations.config_hash,
            config_mirror: wire.annotations.config_mirror,
            controller: controller.map(|owner| Owner {
                kind: owner.kind,
                api_version: owner.api_version,
                name: owner.name,
                uid: owner.uid,
            }),
        })
    }
}

/// Implements `kube`'s `Resource` for a partial struct with a field `metadata: Meta`.
macro_rules! resource {
    ($type:ident, $scope:ident, $group:literal, $plural:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = kube::core::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($type).into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.metadata.object
            }
            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata.object
            }
        }
    };
}
pub(super) use resource;
