//! What the daemon knows about itself, for `/v1/status`.

use std::sync::{Arc, PoisonError, RwLock};

use netobs_common::connection::CONNECTIONS;
use netobs_common::counters::family;

use super::classifier_hooks::TCX;
use crate::bpf::rings::{RINGS, ring_bytes};
use crate::cluster::{ClusterHandle, Feed, FeedState, Phase};
use crate::config::Config;
use crate::detect::flood::FloodStats;
use crate::flow::{FlowLimits, FlowStats};
use crate::http::metrics::node::{FeedMetrics, NodeMetrics};
use crate::http::status::{
    FloodStatus, FlowStatus, HookStatus, InterfaceStatus, Limit, MetadataStatus, NodeStatus, PodCoverage, StatusSource,
};
use crate::kernel::features;
use crate::kernel::privileges;
use crate::net::PlacesReader;
use crate::resolve::{Directory as _, Places as _};

/// State that other parts of the daemon keep up to date.
pub struct Shared {
    kernel: String,
    hooks: Vec<HookStatus>,
    features: Vec<features::Feature>,
    limits: FlowLimits,
    ring_bytes: u32,
    places: PlacesReader,
    cluster: Arc<ClusterHandle>,
    interfaces: RwLock<Vec<InterfaceStatus>>,
    classifier_hooks: RwLock<Vec<HookStatus>>,
    by_interface: RwLock<Option<features::Feature>>,
    flow: RwLock<(FlowStats, FloodStats)>,
    scope: RwLock<(usize, usize)>,
    map_bytes: Option<u64>,
}

impl Shared {
    /// With nothing attached to interfaces yet.
    pub fn new(
        config: &Config,
        kernel: String,
        hooks: Vec<HookStatus>,
        features: Vec<features::Feature>,
        map_bytes: Option<u64>,
        places: PlacesReader,
        cluster: Arc<ClusterHandle>,
    ) -> Self {
        Self {
            kernel,
            hooks,
            features,
            limits: config.flow,
            ring_bytes: config.ring_bytes,
            places,
            cluster,
            interfaces: RwLock::default(),
            classifier_hooks: RwLock::default(),
            by_interface: RwLock::default(),
            flow: RwLock::default(),
            scope: RwLock::default(),
            map_bytes,
        }
    }

    /// What is attached where.
    pub fn set_interfaces(&self, interfaces: Vec<InterfaceStatus>) {
        *self.interfaces.write().unwrap_or_else(PoisonError::into_inner) = interfaces;
    }

    /// How classifiers are attached: these lines take the place of the one about tcx.
    pub fn set_classifier_hooks(&self, lines: Vec<HookStatus>, feature: features::Feature) {
        *self.classifier_hooks.write().unwrap_or_else(PoisonError::into_inner) = lines;
        *self.by_interface.write().unwrap_or_else(PoisonError::into_inner) = Some(feature);
    }

    fn features(&self) -> Vec<features::Feature> {
        let by_interface = self.by_interface.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.features.iter().cloned().chain(by_interface).collect()
    }

    fn hooks(&self) -> Vec<HookStatus> {
        let lines = self.classifier_hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        if lines.is_empty() {
            return self.hooks.clone();
        }
        self.hooks.iter().filter(|hook| hook.name != TCX).cloned().chain(lines).collect()
    }

    /// State of the flow table and of the detector of floods.
    pub fn set_flow(&self, stats: FlowStats, floods: FloodStats) {
        *self.flow.write().unwrap_or_else(PoisonError::into_inner) = (stats, floods);
    }

    fn flow(&self) -> (FlowStats, FloodStats) {
        *self.flow.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn flow_status(&self) -> (FlowStatus, FloodStatus) {
        let (flow, floods) = self.flow();
        let FlowStats { unseen_resets, told_early, own_icmp_packets, evicted_packets, .. } = flow;
        let evicted_drops = flow.evicted_references;
        let FloodStats { sources, flooding, floods, replaced, unwatched_packets } = floods;
        (
            FlowStatus { unseen_resets, told_early, own_icmp_packets, evicted_packets, evicted_drops },
            FloodStatus { sources, flooding, floods, replaced, unwatched_packets },
        )
    }

    /// Network namespaces that are to be observed, and how many of them are not for want of room.
    pub fn set_scope(&self, namespaces: usize, refused: usize) {
        *self.scope.write().unwrap_or_else(PoisonError::into_inner) = (namespaces, refused);
    }

    /// What is seen of each of this node's pods.
    fn coverage(&self, interfaces: &[InterfaceStatus]) -> Vec<PodCoverage> {
        let places = self.places.places();
        let directory = self.cluster.snapshot();
        let mut coverage: Vec<PodCoverage> = Vec::new();
        for interface in interfaces {
            let pod = places
                .interface(interface.ifindex)
                .and_then(|info| info.peer_netns)
                .and_then(|netns| places.pod_uid_of_netns(netns))
                .and_then(|uid| directory.pod_by_uid(&uid));
            if let Some(pod) = pod {
                coverage.push(PodCoverage {
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    seen_by: if interface.attached.is_empty() {
                        "sockets and drops only".to_owned()
                    } else {
                        "interface, sockets and drops".to_owned()
                    },
                    interface: Some(interface.name.clone()),
                });
            }
        }
        for pod in directory.pods_of_node(&self.cluster.state().node) {
            if !coverage.iter().any(|known| known.namespace == pod.namespace && known.pod == pod.name) {
                coverage.push(PodCoverage {
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    seen_by: "sockets and drops only".to_owned(),
                    interface: None,
                });
            }
        }
        coverage
    }

    fn metadata(&self) -> MetadataStatus {
        let state = self.cluster.state();
        let objects = |feed| state.feed(feed).map_or(0, |feed| feed.objects as u64);
        let mut troubles: Vec<String> = state
            .feeds
            .iter()
            .filter(|feed| feed.phase != Phase::Synced)
            .map(|feed| {
                let why = feed.last_error.as_deref().unwrap_or("not listed yet");
                format!("{} {}: {why}", feed.feed.name(), format!("{:?}", feed.phase).to_lowercase())
            })
            .collect();
        troubles.extend(self.places.places().state().problems());
        MetadataStatus {
            source: state.source.to_owned(),
            synced: state.not_ready().is_empty(),
            detail: (!troubles.is_empty()).then(|| troubles.join("; ")),
            pods: objects(Feed::Pods),
            services: objects(Feed::Services),
        }
    }

    fn feeds(&self) -> Vec<FeedMetrics> {
        let state = self.cluster.state();
        let metrics = |feed: &FeedState| FeedMetrics {
            name: feed.feed.name(),
            synced: feed.phase == Phase::Synced,
            objects: feed.objects as u64,
            lists: feed.lists,
            failures: feed.failures,
            undecodable: feed.undecodable,
            heard_boot_ns: feed.heard_boot_ns,
        };
        state.feeds.iter().map(metrics).collect()
    }

    fn limits(&self) -> Vec<Limit> {
        let (flow, _) = self.flow();
        let limit = |name: &str, limit: u64, used: Option<u64>, refused: Option<u64>| Limit {
            name: name.to_owned(),
            limit,
            used,
            refused,
        };
        let (namespaces, unobserved) = *self.scope.read().unwrap_or_else(PoisonError::into_inner);
        let held = [family::DROP, family::MTU, family::RESET, family::SOCKET].iter().map(|of| flow.pending[*of]).sum();
        let mut limits = vec![
            limit("network namespaces observed", 4096, Some(namespaces as u64), Some(unobserved as u64)),
            limit(
                "dns questions waiting",
                self.limits.questions as u64,
                Some(flow.pending[family::DNS]),
                Some(flow.evicted[family::DNS]),
            ),
            limit(
                "resets, refused and too big packets waiting",
                self.limits.held as u64 * 4,
                Some(held),
                Some(flow.told_early),
            ),
            limit("packets remembered", self.limits.packets as u64, None, Some(flow.evicted_packets)),
            limit("drops remembered as evidence", self.limits.references as u64, None, Some(flow.evicted_references)),
            limit("connections whose opener is remembered", CONNECTIONS.into(), None, None),
        ];
        limits.extend(RINGS.map(|(ring, family)| {
            limit(&format!("bytes of {ring}"), ring_bytes(family, self.ring_bytes).into(), None, None)
        }));
        limits
    }
}

impl StatusSource for Shared {
    fn node_status(&self) -> NodeStatus {
        let interfaces = self.interfaces.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (flow, floods) = self.flow_status();
        NodeStatus {
            kernel: self.kernel.clone(),
            hooks: self.hooks(),
            features: self.features(),
            coverage: self.coverage(&interfaces),
            interfaces,
            metadata: self.metadata(),
            limits: self.limits(),
            flow,
            floods,
            capabilities: privileges::of_process(),
            bpf_map_bytes: self.map_bytes,
        }
    }

    fn node_metrics(&self) -> NodeMetrics {
        let attached = self.hooks.iter().filter(|hook| hook.attached).count();
        let (interfaces, whole) = {
            let interfaces = self.interfaces.read().unwrap_or_else(PoisonError::into_inner);
            (interfaces.len(), interfaces.iter().filter(|interface| interface.why_not.is_none()).count())
        };
        let (flow, floods) = self.flow_status();
        let (namespaces, unobserved) = *self.scope.read().unwrap_or_else(PoisonError::into_inner);
        let state = self.cluster.state();
        NodeMetrics {
            kernel: self.kernel.clone(),
            hooks: (attached as u64, (self.hooks.len() - attached) as u64),
            interfaces: (whole as u64, (interfaces - whole) as u64),
            rings: RINGS.map(|(ring, family)| (ring, ring_bytes(family, self.ring_bytes).into())).into(),
            map_bytes: self.map_bytes,
            flow,
            floods,
            namespaces: (namespaces as u64, unobserved as u64),
            feeds: self.feeds(),
            lookups: (state.owner_lookups, state.owner_lookup_failures),
        }
    }
}
