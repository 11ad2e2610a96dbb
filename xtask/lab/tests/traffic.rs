//! DNS, foreign programs, spoofed sources.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use netobs_lab::{Direction, DnsServer, Node, PodSpec, Position, Service};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn dns_answers_and_fails_as_real_servers_do() {
    if common::skip_without("dns", &[("knotd", "knot"), ("dig", "bind9-dnsutils")]) {
        return;
    }
    let node = Node::new().unwrap();
    let dns = node.add_pod(PodSpec::new("kube-system", "coredns").label("k8s-app", "kube-dns")).unwrap();
    let silent = node.add_pod(PodSpec::new("kube-system", "silent")).unwrap();
    let client = node.add_pod(PodSpec::new("shop", "client")).unwrap();
    let web = node.add_service(Service::new("shop", "web").tcp("http", 80, 8080)).unwrap();
    let service = Service::new("kube-system", "kube-dns").select("k8s-app", "kube-dns").number(10);
    let service = node.add_service(service.udp("dns", 53, 53).tcp("dns-tcp", 53, 53)).unwrap();
    node.program_services().unwrap();
    let large = format!("large 5 TXT {}", "\"0123456789012345678901234567890123456789\" ".repeat(20));
    let mut server = DnsServer::start(&node, &dns, &large).unwrap();
    let cluster = service.at("dns").unwrap().ip();
    let check = |name: &str, kind: &str, status: &str, answers: &[String]| {
        let answer = client.dig(cluster, name, kind, &[]).unwrap();
        assert_eq!((answer.status.as_deref(), &answer.answers[..]), (Some(status), answers), "{}", answer.text);
    };
    let [v4, v6] = web.cluster_ips()[..] else { panic!("two cluster addresses") };
    check("web.shop.svc.cluster.local", "A", "NOERROR", &[v4.to_string()]);
    check("web.shop.svc.cluster.local", "AAAA", "NOERROR", &[v6.to_string()]);
    check("wbe.shop.svc.cluster.local", "A", "NXDOMAIN", &[]);
    check("example.com", "A", "NXDOMAIN", &[]);
    check("www.broken.test", "A", "SERVFAIL", &[]);
    let cut = client.dig(cluster, "large.cluster.local", "TXT", &["+ignore"]).unwrap();
    assert!(cut.text.contains("flags: qr aa tc"), "{}", cut.text);
    let whole = client.dig(dns.ipv6(), "large.cluster.local", "TXT", &[]).unwrap();
    assert!(whole.text.contains("(TCP)") && whole.status.as_deref() == Some("NOERROR"), "{}", whole.text);
    // A new service has a name once the server is told.
    let api = node.add_service(Service::new("shop", "api").tcp("http", 80, 8080)).unwrap();
    server.update(&node).unwrap();
    let end = std::time::Instant::now() + 5 * SECOND;
    while client.dig(cluster, "api.shop.svc.cluster.local", "A", &[]).unwrap().answers
        != [api.cluster_ips()[0].to_string()]
    {
        assert!(std::time::Instant::now() < end, "{}", server.log());
    }
    let _silent = silent.udp_silent(53).unwrap();
    assert_eq!(client.dig(silent.ipv4(), "web.shop.svc.cluster.local", "A", &[]).unwrap().status, None);
}

#[test]
fn a_spoofed_source_arrives() {
    if common::skip("spoofed source") {
        return;
    }
    let node = Node::new().unwrap();
    let server = node.add_pod(PodSpec::new("shop", "server")).unwrap();
    let other = node.add_pod(PodSpec::new("shop", "other")).unwrap();
    let attacker = node.add_pod(PodSpec::new("shop", "attacker")).unwrap();
    for (from, to, any) in [
        (other.at(1234), server.at(9), "0.0.0.0:9"),
        (other.at6(1234), server.at6(9), "[::]:9"),
        (SocketAddr::new(node.plan().no_such_pod().0.into(), 1), server.at(9), "0.0.0.0:9"),
    ] {
        let socket = server.udp_socket(any.parse().unwrap()).unwrap();
        socket.set_read_timeout(Some(5 * SECOND)).unwrap();
        attacker.send_spoofed_udp(from, to, b"hello").unwrap();
        let mut buffer = [0; 16];
        let (length, source) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source.ip(), source.port()), (&b"hello"[..], from.ip(), from.port()));
    }
}

#[test]
fn a_foreign_program_hides_packets_from_what_comes_behind() {
    if common::skip_without("foreign program", &[("tc", "iproute2")]) {
        return;
    }
    let node = Node::new().unwrap();
    let web = node.add_pod(PodSpec::new("shop", "web")).unwrap();
    let interface = web.host_interface();
    let gateway = node.plan().gateway().0.to_string();
    let ping = || web.exec(&["ping", "-c1", "-W1", &gateway]).unwrap().success();
    node.must(&["tc", "qdisc", "add", "dev", interface, "clsact"]).unwrap();
    // The kernel asks tc's own filters after tcx. This one drops (classic BPF: return 2, TC_ACT_SHOT) what gets there.
    node.must(&["tc", "filter", "add", "dev", interface, "ingress", "bpf", "da", "bytecode", "1,6 0 0 2"]).unwrap();
    assert!(!ping());
    let program = node.attach_foreign_program(interface, Direction::Ingress, Position::First).unwrap();
    let _other = node.attach_foreign_program(interface, Direction::Egress, Position::Last).unwrap();
    // The neighbour could not be asked for before, and is asked again once a second.
    assert!(web.exec(&["ping", "-c6", "-i0.5", "-W1", &gateway]).unwrap().success());
    drop(program);
    assert!(!ping());
    assert!(node.attach_foreign_program("none", Direction::Ingress, Position::First).is_err());
}
