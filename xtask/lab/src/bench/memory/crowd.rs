//! A cluster of many pods and services on other nodes: objects only, no network.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{ApiServer, Node, kubectl_list};

/// Pods of a node, of which a cluster has as many as that takes.
const PODS_PER_NODE: u32 = 50;

/// The objects.
pub struct Crowd {
    own: Value,
    objects: Vec<Value>,
}

impl Crowd {
    /// So many pods in Deployments of their Services, beside the lab's own objects.
    pub fn new(node: &Node, pods: u32, services: u32) -> Self {
        let mut objects = Vec::new();
        for number in 0..pods.div_ceil(PODS_PER_NODE) {
            objects.push(other_node(number));
        }
        for number in 0..services {
            let members: Vec<u32> = (number..pods).step_by(services as usize).collect();
            objects.push(service(number));
            objects.push(slice(number, &members));
        }
        objects.extend((0..pods).map(|number| pod(number, services)));
        Self { own: kubectl_list(node), objects }
    }

    /// Writes them in the form of `kubectl get … -A -o json`.
    pub fn write(&self, directory: &Path) -> Result<PathBuf> {
        let mut list = self.own.clone();
        list["items"].as_array_mut().context("a list without items")?.extend(self.objects.iter().cloned());
        let path = directory.join("crowd.json");
        std::fs::write(&path, serde_json::to_vec(&list)?).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Puts them into the API server.
    pub fn put(&self, api: &ApiServer) {
        for object in &self.objects {
            api.put(object.clone());
        }
    }
}

/// 11.0.0.0/8: in none of the lab's ranges.
fn pod_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0100 + number)
}

fn service_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0bff_0000 + number)
}

fn node_ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0bfe_0000 + number)
}

/// UIDs that differ, in the form of a version 4 one.
fn uid(kind: u32, number: u32) -> String {
    format!("{kind:08x}-0000-4000-8000-{number:012x}")
}

fn node_name(number: u32) -> String {
    format!("worker-{number:04}.region-1.example.internal")
}

fn namespace(service: u32) -> String {
    format!("team-{:02}", service % 40)
}

/// Of a pod of a Service's Deployment: the Service's name, the template's hash, a suffix.
fn pod_name(number: u32, service: u32) -> String {
    format!("{}-{number:05x}", replica_set(service))
}

fn replica_set(service: u32) -> String {
    format!("service-{service:04}-{}", hash(service))
}

fn hash(service: u32) -> String {
    format!("{:08x}", 0x7c9d_0000 + service)
}

fn other_node(number: u32) -> Value {
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": node_name(number), "uid": uid(1, number),
            "labels": {"kubernetes.io/hostname": node_name(number), "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": node_ip(number)}]},
    })
}

fn service(number: u32) -> Value {
    json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": format!("service-{number:04}"), "namespace": namespace(number), "uid": uid(2, number)},
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080},
                      {"name": "metrics", "protocol": "TCP", "port": 9090, "targetPort": 9090}],
            "selector": {"app": format!("service-{number:04}")},
            "clusterIP": service_ip(number), "clusterIPs": [service_ip(number)], "type": "ClusterIP",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        },
        "status": {"loadBalancer": {}},
    })
}

fn slice(number: u32, members: &[u32]) -> Value {
    let name = format!("service-{number:04}");
    let endpoints: Vec<_> = members
        .iter()
        .map(|&member| {
            json!({
                "addresses": [pod_ip(member)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": namespace(number), "uid": uid(3, member),
                    "name": pod_name(member, number)},
                "nodeName": node_name(member / PODS_PER_NODE),
            })
        })
        .collect();
    json!({
        "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": format!("{name}-ipv4"), "namespace": namespace(number), "uid": uid(4, number),
            "labels": {"kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": "metrics", "protocol": "TCP", "port": 9090}],
    })
}

fn pod(number: u32, services: u32) -> Value {
    let service = number % services;
    let app = format!("service-{service:04}");
    let ip = pod_ip(number);
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": pod_name(number, service), "namespace": namespace(service), "uid": uid(3, number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": app, "pod-template-hash": hash(service)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set(service), "uid": uid(5, service),
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "containers": [{"name": "main", "image": "registry.example/app:1", "resources": {}}],
            "restartPolicy": "Always", "nodeName": node_name(number / PODS_PER_NODE),
        },
        "status": {
            "phase": "Running", "hostIP": node_ip(number / PODS_PER_NODE), "podIP": ip, "podIPs": [{"ip": ip}],
            "startTime": "2026-01-01T00:00:00Z",
        },
    })
}
