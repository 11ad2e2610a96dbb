//! The faults, in the order in which they happen; here those of drops and DNS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::expect::{Expected, Field};
use super::families;
use super::fault::{Fault, Rule, Strike};
use super::scene::{API_PORT, DB_PORT, DNS_TIMEOUT, KUBELET_PORT, Scene};
use crate::{Pod, Service};

/// How long an event may take where netobs does not wait for anything itself. Far more than it takes: this also runs
/// on machines that are busy with other things.
pub const PROMPT: Duration = Duration::from_secs(3);

/// All of them.
pub fn faults(scene: &Scene) -> Vec<Fault> {
    vec![
        by_nft(scene),
        behind_a_service(scene),
        by_the_host(scene),
        no_such_name(scene),
        no_answer(scene),
        families::too_big(scene),
        families::closed_port(scene),
        families::reset_flood(scene),
    ]
}

/// The addresses of a packet's ends, per IP version.
pub type Ends = (&'static str, IpAddr, IpAddr);

/// Pairs the addresses of both ends by IP version.
pub fn pairs(from: [IpAddr; 2], to: &[IpAddr]) -> Vec<Ends> {
    ["IPv4", "IPv6"].into_iter().zip(from).zip(to).map(|((label, from), to)| (label, from, *to)).collect()
}

fn by_nft(scene: &Scene) -> Fault {
    let (web, api) = (&scene.web, &scene.api);
    let rule = |family, from: IpAddr, to: IpAddr| format!("{family} saddr {from} {family} daddr {to} drop");
    let (v4, v6) = (rule("ip", web.ips()[0], api.ips()[0]), rule("ip6", web.ips()[1], api.ips()[1]));
    let script = format!(
        "table inet demo {{ chain forward {{ type filter hook forward priority filter; policy accept;\n{v4}\n{v6}\n}}\n}}\n"
    );
    Fault {
        title: "shop/web may not reach shop/api any more".into(),
        how: format!("an nft rule in the node's FORWARD hook: {v4} (and its IPv6 twin)"),
        rule: Rule::Nft(script),
        strike: Strike::Connect(Arc::clone(web), vec![api.at(API_PORT), api.at6(API_PORT)]),
        expected: pairs(web.ips(), &api.ips())
            .into_iter()
            .map(|ends| dropped(ends, API_PORT, "FORWARD", [pod("/source", web), pod("/destination", api)].concat()))
            .collect(),
        also: Vec::new(),
        lines: None,
        within: PROMPT,
    }
}

fn behind_a_service(scene: &Scene) -> Fault {
    let (web, db, service) = (&scene.web, &scene.db, &scene.db_service);
    let rule = |from: IpAddr, to: IpAddr| format!("-I FORWARD -s {from} -d {to} -p tcp --dport {DB_PORT} -j DROP");
    let (v4, v6) = (rule(web.ips()[0], db.ips()[0]), rule(web.ips()[1], db.ips()[1]));
    let expected = pairs(web.ips(), &db.ips()).into_iter().zip(service.cluster_ips()).map(|(ends, cluster_ip)| {
        let nat = vec![
            ("/nat/original/destination_ip", json!(cluster_ip)),
            ("/nat/service/namespace", json!(service.namespace)),
            ("/nat/service/name", json!(service.name)),
            ("/nat/service/port_name", json!("sql")),
        ];
        let names = [pod("/source", web), pod("/destination", db), backend(db), nat].concat();
        dropped(ends, DB_PORT, "FORWARD", names)
    });
    Fault {
        title: "shop/web connects to the Service shop/db, but its packets never get to the pod behind it".into(),
        how: format!("iptables {v4} (and its IPv6 twin), met after the DNAT to the backend"),
        rule: Rule::Iptables(v4, v6),
        strike: Strike::Connect(Arc::clone(web), cluster_addresses(service, "sql")),
        expected: expected.collect(),
        also: Vec::new(),
        lines: None,
        within: PROMPT,
    }
}

fn by_the_host(scene: &Scene) -> Fault {
    let (agent, node) = (&scene.agent, &scene.node);
    let (v4, v6) = node.plan().node();
    let rule = |source| format!("-I INPUT -s {source} -p tcp --dport {KUBELET_PORT} -j DROP");
    let [rule4, rule6] = agent.ips().map(rule);
    let names = || {
        let to = vec![("/destination/node", json!(node.name())), ("/destination/pod", Value::Null)];
        [pod("/source", agent), to, vec![("/nat/service", Value::Null)]].concat()
    };
    Fault {
        title: format!("monitoring/agent cannot scrape the kubelet of its own node ({})", node.name()),
        how: format!("the host firewall: iptables {rule4} (and its IPv6 twin)"),
        rule: Rule::Iptables(rule4, rule6),
        strike: Strike::Connect(
            Arc::clone(agent),
            vec![SocketAddr::new(v4.into(), KUBELET_PORT), SocketAddr::new(v6.into(), KUBELET_PORT)],
        ),
        expected: pairs(agent.ips(), &[v4.into(), v6.into()])
            .into_iter()
            .map(|ends| dropped(ends, KUBELET_PORT, "INPUT", names()))
            .collect(),
        also: Vec::new(),
        lines: None,
        within: PROMPT,
    }
}

fn no_such_name(scene: &Scene) -> Fault {
    const NAME: &str = "paymnets.shop.svc.cluster.local";
    let (api, dns, service) = (&scene.api, &scene.dns, &scene.dns_service);
    let cluster_ips = service.cluster_ips();
    let questions: Vec<_> = cluster_ips.iter().copied().zip(["A", "AAAA"]).collect();
    let expected = pairs(api.ips(), &cluster_ips).into_iter().zip(&questions).map(|(ends, (_, qtype))| {
        let names = [
            pod("/source", api),
            pod("/destination", dns),
            vec![("/nat/service/namespace", json!(service.namespace)), ("/nat/service/name", json!(service.name))],
            vec![("/dns/outcome", json!("failed")), ("/dns/rcode", json!("NXDOMAIN"))],
        ];
        asked(ends, NAME, qtype, names.concat())
    });
    Fault {
        title: "shop/api looks up a name with a typing error".into(),
        how: format!("dig @{} {NAME}: no such name, says the real DNS server behind kube-dns", cluster_ips[0]),
        expected: expected.collect(),
        rule: Rule::None,
        strike: Strike::Ask { client: Arc::clone(api), name: NAME.into(), questions, status: Some("NXDOMAIN") },
        also: Vec::new(),
        lines: None,
        within: PROMPT,
    }
}

fn no_answer(scene: &Scene) -> Fault {
    const NAME: &str = "payments.example.com";
    let (api, resolver) = (&scene.api, &scene.resolver);
    let questions: Vec<_> = resolver.ips().into_iter().zip(["A", "AAAA"]).collect();
    let expected = pairs(api.ips(), &resolver.ips()).into_iter().zip(&questions).map(|(ends, (_, qtype))| {
        let names = [
            pod("/source", api),
            pod("/destination", resolver),
            vec![("/nat/service", Value::Null)],
            vec![("/dns/outcome", json!("unanswered")), ("/dns/rcode", Value::Null)],
        ];
        asked(ends, NAME, qtype, names.concat())
    });
    Fault {
        title: "shop/api asks the DNS server infra/resolver, which does not answer".into(),
        how: format!(
            "dig @{} {NAME}: the server takes the question and is silent; netobs waits {} s for it",
            resolver.ipv4(),
            DNS_TIMEOUT.as_secs()
        ),
        expected: expected.collect(),
        rule: Rule::None,
        strike: Strike::Ask { client: Arc::clone(api), name: NAME.into(), questions, status: None },
        also: Vec::new(),
        lines: None,
        within: PROMPT + DNS_TIMEOUT,
    }
}

fn cluster_addresses(service: &Service, port: &str) -> Vec<SocketAddr> {
    [service.at(port), service.at6(port)].into_iter().flatten().collect()
}

/// A SYN that netfilter drops in this hook.
fn dropped((label, from, to): Ends, port: u16, hook: &str, names: Vec<Field>) -> Expected {
    let about = vec![
        ("/kind", json!("drop")),
        ("/flow/protocol", json!("tcp")),
        ("/flow/source_ip", json!(from)),
        ("/flow/destination_ip", json!(to)),
        ("/flow/destination_port", json!(port)),
    ];
    let mut says = names;
    says.extend([
        ("/severity", json!("problem")),
        ("/count", json!(1)),
        ("/drop/reason", json!("NETFILTER_DROP")),
        ("/drop/hook", json!(hook)),
        ("/drop/tcp_flags", json!("SYN")),
    ]);
    Expected { label, about, says }
}

/// A question over UDP.
fn asked((label, from, to): Ends, name: &str, qtype: &str, names: Vec<Field>) -> Expected {
    let about = vec![
        ("/kind", json!("dns")),
        ("/flow/protocol", json!("udp")),
        ("/flow/source_ip", json!(from)),
        ("/flow/destination_ip", json!(to)),
        ("/flow/destination_port", json!(53)),
        ("/dns/name", json!(format!("{name}."))),
    ];
    let mut says = names;
    says.extend([("/severity", json!("problem")), ("/count", json!(1)), ("/dns/qtype", json!(qtype))]);
    Expected { label, about, says }
}

/// An end is this pod, of its workload.
pub fn pod(end: &'static str, pod: &Pod) -> Vec<Field> {
    let [namespace, name, kind, workload] = match end {
        "/source" => {
            ["/source/pod/namespace", "/source/pod/name", "/source/pod/workload/kind", "/source/pod/workload/name"]
        }
        _ => [
            "/destination/pod/namespace",
            "/destination/pod/name",
            "/destination/pod/workload/kind",
            "/destination/pod/workload/name",
        ],
    };
    let top = pod.workload().top();
    vec![
        (namespace, json!(pod.namespace())),
        (name, json!(pod.name())),
        (kind, json!(top.map(|top| &top.kind))),
        (workload, json!(top.map(|top| &top.name))),
    ]
}

/// The chosen backend is this pod.
fn backend(pod: &Pod) -> Vec<Field> {
    vec![("/nat/backend/pod/namespace", json!(pod.namespace())), ("/nat/backend/pod/name", json!(pod.name()))]
}
