//! The faults of the families beside drops and DNS: a packet too big, a port on which nothing listens, a flood of resets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::expect::{Expected, Field};
use super::fault::{Fault, Rule, Strike};
use super::plot::{Ends, PROMPT, pairs, pod};
use super::scene::Scene;

/// MTU of the narrow link, and bytes of the packets that are too big for it.
const NARROW: u32 = 1400;
const TOO_BIG: u32 = 1480;
/// Port that takes metrics (statsd's).
const METRICS_PORT: u16 = 8125;
/// Port on which nothing listens (that of Redis).
const CLOSED_PORT: u16 = 6379;
/// Connections of the one who does not wait between two tries.
const TRIES: u64 = 4_000;
/// netobs calls a flood over when the source has been calm for five seconds.
const CALM: Duration = Duration::from_secs(8);
/// Lines shown of a flood's single resets.
const FEW: usize = 2;

/// A packet that does not fit a bridge's port.
pub fn too_big(scene: &Scene) -> Fault {
    let (api, agent) = (&scene.api, &scene.agent);
    let interface = agent.host_interface();
    let expected = pairs(api.ips(), &agent.ips()).into_iter().map(|(label, from, to)| Expected {
        label,
        about: vec![
            ("/kind", json!("mtu")),
            ("/flow/protocol", json!("udp")),
            ("/flow/source_ip", json!(from)),
            ("/flow/destination_ip", json!(to)),
            ("/flow/destination_port", json!(METRICS_PORT)),
        ],
        says: [
            pod("/source", api),
            pod("/destination", agent),
            vec![
                ("/severity", json!("problem")),
                ("/count", json!(1)),
                ("/mtu/cause", json!("exceeds_mtu")),
                ("/mtu/next_hop_mtu", json!(NARROW)),
                ("/mtu/interface", json!(interface)),
            ],
            // Before the port sees it, netfilter on the bridge makes one fragment, with 8 bytes more, of an IPv6 packet
            // that is too big (`br_nf_dev_queue_xmit`).
            vec![("/mtu/packet_length", json!(if from.is_ipv4() { TOO_BIG } else { TOO_BIG + 8 }))],
        ]
        .concat(),
    });
    Fault {
        title: format!("shop/api sends metrics in packets of {TOO_BIG} bytes, monitoring/agent's link takes {NARROW}"),
        how: format!("ip link set {interface} mtu {NARROW}: the bridge drops what is bigger and tells nobody"),
        expected: expected.collect(),
        also: Vec::new(),
        lines: None,
        // The bridge would take the smallest MTU of its ports as its own.
        rule: Rule::Ip(format!("link set {interface} mtu {NARROW}\nlink set {} mtu 1500\n", scene.node.bridge())),
        strike: Strike::Send(Arc::clone(api), vec![agent.at(METRICS_PORT), agent.at6(METRICS_PORT)], TOO_BIG),
        within: PROMPT,
    }
}

/// A connection that is refused.
pub fn closed_port(scene: &Scene) -> Fault {
    let (web, db) = (&scene.web, &scene.db);
    let expected = pairs(db.ips(), &web.ips()).into_iter().map(|(label, from, to)| Expected {
        label,
        about: reset((label, from, to)),
        says: [
            pod("/source", db),
            pod("/destination", web),
            vec![
                ("/severity", json!("problem")),
                ("/count", json!(1)),
                ("/flow/source_port", json!(CLOSED_PORT)),
                ("/reset/cause", json!("refused")),
                ("/reset/opener", json!("destination")),
                ("/reset/destination_state", json!("SYN_SENT")),
                ("/reset/tcp_flags", json!("RST,ACK")),
            ],
        ]
        .concat(),
    });
    Fault {
        title: format!("shop/web connects to shop/db:{CLOSED_PORT}, where nothing listens"),
        how: "a wrong port in a configuration: shop/db's kernel answers with a reset".into(),
        expected: expected.collect(),
        also: vec![refused_packet(db.at(CLOSED_PORT)), refused_packet(db.at6(CLOSED_PORT))],
        lines: None,
        rule: Rule::None,
        strike: Strike::Refused(Arc::clone(web), vec![db.at(CLOSED_PORT), db.at6(CLOSED_PORT)]),
        within: PROMPT,
    }
}

/// One who tries again at once, thousands of times.
pub fn reset_flood(scene: &Scene) -> Fault {
    let (agent, api) = (&scene.agent, &scene.api);
    let expected = [("onset", Value::Null), ("end", json!(TRIES))].into_iter().map(|(phase, packets)| Expected {
        label: phase,
        about: vec![("/kind", json!("flood")), ("/flood/phase", json!(phase))],
        says: [
            pod("/source", api),
            pod("/destination", agent),
            vec![("/flood/destinations", json!(1))],
            // At its onset it is not over, so how many there will be is not known.
            if packets.is_null() { Vec::new() } else { vec![("/flood/packets", packets)] },
        ]
        .concat(),
    });
    Fault {
        title: format!("monitoring/agent tries shop/api:{CLOSED_PORT} {TRIES} times without a pause"),
        how: "a client without back-off: each try is answered with a reset, told by its first few and exact sums"
            .into(),
        expected: expected.collect(),
        also: vec![reset(("IPv4", api.ips()[0], agent.ips()[0])), refused_packet(api.at(CLOSED_PORT))],
        lines: Some(FEW),
        rule: Rule::None,
        strike: Strike::Hammer(Arc::clone(agent), api.at(CLOSED_PORT), TRIES),
        within: PROMPT + CALM,
    }
}

/// A reset from one address to another.
fn reset((_, from, to): Ends) -> Vec<Field> {
    vec![
        ("/kind", json!("reset")),
        ("/flow/protocol", json!("tcp")),
        ("/flow/source_ip", json!(from)),
        ("/flow/destination_ip", json!(to)),
    ]
}

/// The kernel's drop of the packet that it refuses, which is told besides.
fn refused_packet(to: SocketAddr) -> Vec<Field> {
    vec![
        ("/kind", json!("drop")),
        ("/drop/reason", json!("NO_SOCKET")),
        ("/flow/destination_ip", json!(to.ip())),
        ("/flow/destination_port", json!(to.port())),
    ]
}
