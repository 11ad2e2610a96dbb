//! Claims to addresses over time.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const MS: u64 = 1_000_000;
const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 2, 77));
const LAG: u64 = 2_000;

fn pod(name: &str) -> Who {
    let pod = Pod { namespace: "ns".into(), name: name.into(), uid: Some(name.into()), node: None, workload: None };
    Who::Pod { id: name.into(), pod: Arc::new(pod) }
}

fn seen(at: u64) -> Seen {
    Seen { earliest: at.saturating_sub(LAG) * MS, at: at * MS }
}

/// Each step: `+name` or `-name` at a time in ms, with the layer's letter in front: `p` pod, `s` slice, `n` node.
/// Then the owner at each time.
fn check(steps: &[(u64, &str)], owners: &[(u64, &str)]) {
    let mut table = ClaimTable::default();
    for (at, step) in steps {
        let layer = match &step[..1] {
            "p" => Layer::Pod,
            "s" => Layer::Slice,
            _ => Layer::Node,
        };
        let name = &step[2..];
        let who = if layer == Layer::Node { Who::Node(name.into()) } else { pod(name) };
        match &step[1..2] {
            "+" => assert!(table.begin(IP, layer, &who, seen(*at))),
            _ => table.end(IP, layer, name, seen(*at)),
        }
    }
    for (at, expected) in owners {
        let owner = match table.claims.owner(IP, at * MS) {
            IpOwner::Pod(pod, _) => pod.name.clone(),
            IpOwner::Node(node) => format!("node {node}"),
            IpOwner::Ambiguous => "ambiguous".into(),
            IpOwner::Unknown => "unknown".into(),
        };
        assert_eq!(owner, *expected, "{steps:?} at {at}");
    }
}

#[test]
fn before_and_after_a_single_pod() {
    check(
        &[(10_000, "p+a"), (20_000, "p-a")],
        &[(7_999, "unknown"), (8_000, "a"), (15_000, "a"), (19_999, "a"), (20_000, "unknown")],
    );
}

#[test]
fn an_address_reused_within_a_second() {
    check(
        &[(1_000, "p+old"), (10_000, "p-old"), (10_500, "p+new")],
        &[(8_000, "old"), (8_499, "old"), (8_500, "ambiguous"), (9_999, "ambiguous"), (10_000, "new"), (11_000, "new")],
    );
}

#[test]
fn two_live_pods_with_one_address() {
    check(&[(1_000, "p+a"), (5_000, "p+b")], &[(2_999, "a"), (3_000, "ambiguous"), (99_000, "ambiguous")]);
    check(&[(1_000, "p+a"), (5_000, "p+b"), (6_000, "p-a")], &[(5_500, "ambiguous"), (6_000, "b")]);
}

#[test]
fn slices_of_one_pod_are_one_claim() {
    check(&[(1_000, "s+a"), (2_000, "s+a"), (3_000, "s-a")], &[(5_000, "a")]);
    check(&[(1_000, "s+a"), (2_000, "s+a"), (3_000, "s-a"), (4_000, "s-a")], &[(5_000, "unknown")]);
    check(&[(1_000, "s+a"), (9_000, "s+b"), (9_100, "s-a")], &[(6_000, "a"), (8_000, "ambiguous"), (9_100, "b")]);
}

#[test]
fn a_pods_own_status_outranks_the_slice_that_lags_behind_it() {
    check(
        &[(1_000, "p+a"), (1_100, "s+a"), (9_000, "p-a"), (9_500, "p+b"), (12_000, "s-a")],
        &[(5_000, "a"), (8_000, "ambiguous"), (9_200, "b"), (11_000, "b")],
    );
}

#[test]
fn a_nodes_address_is_the_nodes_whatever_slices_say() {
    check(&[(1_000, "n+node-a"), (2_000, "s+exporter")], &[(5_000, "node node-a")]);
    check(&[(1_000, "n+node-a"), (2_000, "p+odd")], &[(5_000, "ambiguous")]);
    check(
        &[(1_000, "n+node-a"), (9_000, "n-node-a"), (9_000, "n+node-b")],
        &[(3_000, "node node-a"), (9_000, "node node-b")],
    );
}

#[test]
fn the_history_ends_after_a_minute_and_leaves_nothing() {
    let mut table = ClaimTable::default();
    assert!(table.begin(IP, Layer::Pod, &pod("a"), seen(1_000)));
    table.end(IP, Layer::Pod, "a", seen(5_000));
    table.expire(5_000 * MS + HISTORY_NS - 1);
    assert!(matches!(table.claims.owner(IP, 4_000 * MS), IpOwner::Pod(..)));
    let before = table.claims.clone();
    table.expire(5_000 * MS + HISTORY_NS);
    assert!(table.claims.0.get(&IP).is_none());
    assert!(matches!(before.owner(IP, 4_000 * MS), IpOwner::Pod(..)), "a reader keeps what it has");
}

#[test]
fn everything_is_bounded_and_counted() {
    let mut table = ClaimTable::default();
    for n in 0..20 {
        table.begin(IP, Layer::Pod, &pod(&format!("p{n}")), seen(1_000));
    }
    assert_eq!(table.over_limit, 4);
    // Ended ones make room.
    for n in 0..100 {
        let ip = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
        assert!(table.begin(ip, Layer::Pod, &pod(&format!("q{n}")), seen(1_000)));
        table.end(ip, Layer::Pod, &format!("q{n}"), seen(2_000));
    }
    assert_eq!(table.history_evicted, 84);
    for n in 0..=HISTORY_ENTRIES as u32 {
        let ip = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n));
        assert!(table.begin(ip, Layer::Pod, &pod("a"), seen(1_000)));
        table.end(ip, Layer::Pod, "a", seen(2_000));
    }
    assert_eq!(table.ended.len(), HISTORY_ENTRIES);
    assert_eq!(table.history_evicted, 84 + 101);
}
