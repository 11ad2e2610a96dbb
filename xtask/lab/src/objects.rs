//! The lab's pods, services, node and workloads as Kubernetes objects, shaped like those a v1.36 API server serves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::node::Node;
use crate::pod::Pod;
use crate::random;
use crate::service::Service;
use crate::workload::{Owner, Workload};

/// All objects of a node, each with `kind` and `apiVersion`: its Node, namespaces, pods, services and their endpoint slices, and
/// the workloads (as far as metadata goes) that own the pods.
pub fn objects(node: &Node) -> Vec<Value> {
    let pods = node.pods();
    let mut all = vec![node_object(node)];
    let namespaces: BTreeSet<_> = pods.iter().map(|pod| pod.namespace()).collect();
    all.extend(namespaces.into_iter().map(namespace_object));
    all.extend(pods.iter().map(|pod| pod_object(node, pod)));
    for service in node.services() {
        all.extend([false, true].map(|ipv6| endpoint_slice(node, &service, ipv6)));
        all.push(service_object(&service));
    }
    let mut owners: Vec<Value> = Vec::new();
    for pod in &pods {
        for owner in workload_objects(pod) {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
    }
    all.extend(owners);
    all
}

/// What `kubectl get pods,services,nodes,endpointslices -A -o json` prints for this node.
pub fn kubectl_list(node: &Node) -> Value {
    let kinds = ["Pod", "Service", "Node", "EndpointSlice"];
    let items: Vec<_> =
        objects(node).into_iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)).collect();
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

fn namespace_object(name: &str) -> Value {
    json!({
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {
            "name": name, "uid": random::uuid_of(&format!("namespace/{name}")),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

fn seconds(time: jiff::Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

fn owner_reference(owner: &Owner) -> Value {
    json!({
        "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn pod_object(node: &Node, pod: &Pod) -> Value {
    let (node4, node6) = node.plan().node();
    let started = seconds(pod.started());
    let condition = |kind: &str, on: bool| {
        json!({"type": kind, "status": if on { "True" } else { "False" }, "lastProbeTime": null,
               "lastTransitionTime": started})
    };
    let mut object = json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": pod.name(),
            "namespace": pod.namespace(),
            "uid": pod.uid(),
            "generation": 1,
            "creationTimestamp": started,
            "labels": pod.labels(),
        },
        "spec": {
            "containers": [{
                "name": "main", "image": "registry.example/lab/pause:1", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "imagePullPolicy": "Never",
            }],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "nodeName": node.name(),
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": true,
        },
        "status": {
            "phase": "Running",
            "conditions": [
                condition("PodReadyToStartContainers", true), condition("Initialized", true),
                condition("Ready", pod.ready()), condition("ContainersReady", pod.ready()),
                condition("PodScheduled", true),
            ],
            "hostIP": node4,
            "hostIPs": [{"ip": node4}, {"ip": node6}],
            "podIP": pod.ipv4(),
            "podIPs": [{"ip": pod.ipv4()}, {"ip": pod.ipv6()}],
            "startTime": started,
            "containerStatuses": [{
                "name": "main", "state": {"running": {"startedAt": started}}, "lastState": {}, "ready": pod.ready(),
                "restartCount": 0, "image": "registry.example/lab/pause:1", "imageID": "",
                "containerID": format!("containerd://{}", pod.container()), "started": true,
            }],
            "qosClass": "BestEffort",
        },
    });
    if let Some(owner) = pod.workload().owner() {
        object["metadata"]["ownerReferences"] = json!([owner_reference(owner)]);
    }
    object
}

/// The objects above a pod, with metadata only (as `PartialObjectMetadata` shows them).
fn workload_objects(pod: &Pod) -> Vec<Value> {
    let object = |owner: &Owner, above: Option<&Owner>| {
        let mut object = json!({
            "kind": owner.kind, "apiVersion": owner.api_version,
            "metadata": {"name": owner.name, "namespace": pod.namespace(), "uid": owner.uid, "generation": 1},
        });
        if let Some(above) = above {
            object["metadata"]["ownerReferences"] = json!([owner_reference(above)]);
        }
        object
    };
    match pod.workload() {
        Workload::None => Vec::new(),
        Workload::Direct(owner) => vec![object(owner, None)],
        Workload::Through { owner, top } => vec![object(owner, Some(top)), object(top, None)],
    }
}

fn service_object(service: &Service) -> Value {
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| {
            json!({"name": port.name, "protocol": port.protocol.name(), "port": port.port, "targetPort": port.target})
        })
        .collect();
    let ips = service.cluster_ips();
    json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": service.name, "namespace": service.namespace, "uid": service.uid},
        "spec": {
            "ports": ports, "selector": service.selector, "clusterIP": ips.first(), "clusterIPs": ips,
            "type": "ClusterIP", "sessionAffinity": "None", "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}

/// One family's slice of a service. Without endpoints, `endpoints` and `ports` are null, as the controller writes it.
fn endpoint_slice(node: &Node, service: &Service, ipv6: bool) -> Value {
    let pods = node.pods();
    let selected = service.endpoints(&pods);
    let endpoints: Vec<_> = selected
        .iter()
        .flat_map(|pod| pod.ips().into_iter().filter(|ip| ip.is_ipv6() == ipv6).map(move |ip| (pod, ip)))
        .map(|(pod, ip)| {
            json!({
                "addresses": [ip],
                "conditions": {"ready": pod.ready(), "serving": pod.ready(), "terminating": false},
                "targetRef": {
                    "kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid(),
                },
                "nodeName": node.name(),
            })
        })
        .collect();
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "protocol": port.protocol.name(), "port": port.target}))
        .collect();
    let empty = endpoints.is_empty();
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": format!("{}-{}", service.name, family.to_lowercase()),
            "namespace": service.namespace,
            "uid": random::uuid_of(&format!("slice/{family}/{}", service.uid)),
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service.name,
            },
            "ownerReferences": [owner_reference(&Owner {
                api_version: "v1".into(), kind: "Service".into(), name: service.name.clone(),
                uid: service.uid.clone(),
            })],
        },
        "addressType": family,
        "endpoints": if empty { Value::Null } else { endpoints.into() },
        "ports": if empty { Value::Null } else { ports.into() },
    })
}

fn node_object(node: &Node) -> Value {
    let (v4, v6) = node.plan().node();
    let (pods4, pods6) = node.plan().pod_cidrs();
    json!({
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": node.name(), "uid": node.uid(),
            "labels": {"kubernetes.io/hostname": node.name(), "kubernetes.io/os": "linux"},
        },
        "spec": {"podCIDR": pods4, "podCIDRs": [pods4, pods6]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": v4}, {"type": "InternalIP", "address": v6},
                {"type": "Hostname", "address": node.name()},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "operatingSystem": "linux", "architecture": "amd64"},
        },
    })
}
