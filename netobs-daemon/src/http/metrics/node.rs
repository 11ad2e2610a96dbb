//! What only the rest of the daemon knows: kernel, hooks, interfaces, limits, and how the API server's feeds are.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::http::metrics::write::{counter, gauge, level, plain, real};
use crate::http::status::{FloodStatus, FlowStatus};
use crate::pipeline::WallClock;

/// State of hooks and metadata at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Hooks with a program of ours, and those without.
    pub hooks: (u64, u64),
    /// Interfaces that have the programs they should have, and those that have not.
    pub interfaces: (u64, u64),
    /// Size of each ring, bytes, by its name.
    pub rings: Vec<(&'static str, u64)>,
    /// Memory of the BPF maps, bytes.
    pub map_bytes: Option<u64>,
    /// What the flow table could not join, or not keep.
    pub flow: FlowStatus,
    /// The detector of floods.
    pub floods: FloodStatus,
    /// Network namespaces observed, and those not observed for want of room.
    pub namespaces: (u64, u64),
    /// Feeds of the API server or the metadata file.
    pub feeds: Vec<FeedMetrics>,
    /// Owners whose metadata was asked for, and how many of those got no answer.
    pub lookups: (u64, u64),
}

/// A feed of cluster metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedMetrics {
    /// Its name, such as `pods`.
    pub name: &'static str,
    /// Listed, and news come.
    pub synced: bool,
    /// Objects known.
    pub objects: u64,
    /// Whole lists received.
    pub lists: u64,
    /// Lists and watches that failed.
    pub failures: u64,
    /// Objects that could not be decoded.
    pub undecodable: u64,
    /// When a list or a watch was last accepted, `CLOCK_BOOTTIME` nanoseconds; `None`: never.
    pub heard_boot_ns: Option<u64>,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct KernelLabels {
    release: String,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct RingLabels {
    ring: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct FeedLabels {
    feed: &'static str,
}

/// State of the node.
pub(super) fn encode(out: &mut DescriptorEncoder, node: &NodeMetrics, clock: &WallClock) -> fmt::Result {
    let mut kernel = out.encode_descriptor("netobs_kernel", "Release of the kernel", None, MetricType::Info)?;
    kernel.encode_info(&KernelLabels { release: node.kernel.clone() })?;
    let bytes = Some(&Unit::Bytes);
    level(out, "hooks_attached", "Hooks of the kernel that have a program of netobs", None, node.hooks.0)?;
    level(out, "hooks_missing", "Hooks of the kernel that have none: see /v1/status", None, node.hooks.1)?;
    level(out, "interfaces_attached", "Interfaces with all programs they should have", None, node.interfaces.0)?;
    level(out, "interfaces_missing", "Interfaces without some of them: see /v1/status", None, node.interfaces.1)?;
    let mut rings = out.encode_descriptor("netobs_ring_size", "Room in each ring", bytes, MetricType::Gauge)?;
    for (ring, size) in &node.rings {
        gauge(rings.encode_family(&RingLabels { ring })?, *size)?;
    }
    if let Some(size) = node.map_bytes {
        level(out, "bpf_map_memory", "Memory of the BPF maps", bytes, size)?;
    }
    flow(out, &node.flow)?;
    floods(out, &node.floods)?;
    level(out, "namespaces_observed", "Network namespaces observed", None, node.namespaces.0)?;
    level(out, "namespaces_unobserved", "Network namespaces not observed for want of room", None, node.namespaces.1)?;
    feeds(out, &node.feeds, clock)?;
    plain(out, "cluster_owner_lookups", "Owners of pods that the API server was asked for", node.lookups.0)?;
    plain(out, "cluster_owner_lookup_failures", "Of those, without an answer of use", node.lookups.1)
}

fn flow(out: &mut DescriptorEncoder, flow: &FlowStatus) -> fmt::Result {
    plain(out, "flow_evicted_packets", "Packets that the flow table forgot before their time", flow.evicted_packets)?;
    plain(out, "flow_evicted_drops", "Drops that the flow table forgot before their time", flow.evicted_drops)?;
    let help = "What sockets said of resets of which no interface showed a packet in time";
    plain(out, "flow_unseen_resets", help, flow.unseen_resets)?;
    let help = "Events told without waiting for what may complete them, for want of room";
    plain(out, "flow_events_told_early", help, flow.told_early)?;
    let help = "ICMP errors of this node's own that were counted and that sums of drops tell instead";
    plain(out, "flow_own_icmp_packets", help, flow.own_icmp_packets)
}

fn floods(out: &mut DescriptorEncoder, floods: &FloodStatus) -> fmt::Result {
    plain(out, "floods", "Floods of resets that were told", floods.floods)?;
    level(out, "flood_sources", "Sources of resets that are watched for floods", None, floods.sources)?;
    level(out, "flood_sources_flooding", "Of those, in a flood now", None, floods.flooding)?;
    plain(out, "flood_sources_replaced", "Sources no longer watched because others send more", floods.replaced)?;
    let help = "Resets not watched for floods: source unknown, or no room for it";
    plain(out, "flood_unwatched_packets", help, floods.unwatched_packets)
}

fn feeds(out: &mut DescriptorEncoder, feeds: &[FeedMetrics], clock: &WallClock) -> fmt::Result {
    type Value = fn(&FeedMetrics) -> u64;
    let all: [(&str, &str, MetricType, Value); 5] = [
        ("synced", "1 when the feed is listed and its news come", MetricType::Gauge, |feed| feed.synced.into()),
        ("objects", "Objects known", MetricType::Gauge, |feed| feed.objects),
        ("lists", "Whole lists received", MetricType::Counter, |feed| feed.lists),
        ("failures", "Lists and watches that failed and were begun again", MetricType::Counter, |feed| feed.failures),
        ("undecodable_objects", "Objects left out", MetricType::Counter, |feed| feed.undecodable),
    ];
    for (name, help, metric_type, value) in all {
        let name = format!("netobs_cluster_feed_{name}");
        let mut metric = out.encode_descriptor(&name, help, None, metric_type)?;
        for feed in feeds {
            let labels = FeedLabels { feed: feed.name };
            let row = metric.encode_family(&labels)?;
            if matches!(metric_type, MetricType::Gauge) {
                gauge(row, value(feed))?;
            } else {
                counter(row, value(feed))?;
            }
        }
    }
    let name = "netobs_cluster_feed_last_success_timestamp";
    let help = "When a list or a watch was last accepted; renewed every five minutes while all is well";
    let mut metric = out.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for feed in feeds {
        if let Some(boot_ns) = feed.heard_boot_ns {
            let time = clock.wall(boot_ns).as_duration().as_secs_f64();
            real(metric.encode_family(&FeedLabels { feed: feed.name })?, time)?;
        }
    }
    Ok(())
}
