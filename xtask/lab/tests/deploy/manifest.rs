//! The plain manifests, read as Kubernetes reads them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Its documents.
pub struct Manifest(Vec<Value>);

impl Manifest {
    /// With the chart's defaults.
    pub fn plain() -> Self {
        Self::read(include_str!("../../../../deploy/netobs.yaml"))
    }

    /// With the metrics over the network.
    pub fn with_metrics() -> Self {
        Self::read(include_str!("../../../../deploy/netobs-metrics.yaml"))
    }

    fn read(text: &str) -> Self {
        Self(serde_saphyr::from_multiple(text).expect("YAML"))
    }

    fn object(&self, kind: &str) -> &Value {
        let mut objects = self.0.iter().filter(|object| object["kind"] == kind);
        let object = objects.next().unwrap_or_else(|| panic!("the manifest has no {kind}"));
        assert!(objects.next().is_none(), "more than one {kind}");
        object
    }

    fn container(&self) -> &Value {
        &self.object("DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    }

    /// Arguments after `run`.
    pub fn arguments(&self) -> Vec<String> {
        let arguments = strings(&self.container()["args"]);
        assert_eq!(arguments[0], "run");
        arguments[1..].to_vec()
    }

    /// Capabilities that are added to none.
    pub fn capabilities(&self) -> Vec<String> {
        let capabilities = &self.container()["securityContext"]["capabilities"];
        assert_eq!(strings(&capabilities["drop"]), ["ALL"]);
        strings(&capabilities["add"])
    }

    /// Group, resource and verb of everything that the daemon's own `ClusterRole` allows: the one that is bound.
    pub fn rights(&self) -> BTreeSet<(String, String, String)> {
        let name = &self.object("ClusterRoleBinding")["roleRef"]["name"];
        let bound = |object: &&Value| object["kind"] == "ClusterRole" && object["metadata"]["name"] == *name;
        let role = self.0.iter().find(bound).unwrap_or_else(|| panic!("there is no ClusterRole {name}"));
        let mut rights = BTreeSet::new();
        for rule in role["rules"].as_array().expect("rules") {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    rights.extend(
                        strings(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)),
                    );
                }
            }
        }
        rights
    }
}

fn strings(list: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().expect("a string").to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}
