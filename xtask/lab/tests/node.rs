//! The node: reachability, services, rules, identity of pods, clean-up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use netobs_lab::{Backend, Layout, Node, PodSpec, Service};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(300);

fn check_reachability(layout: Layout) {
    let node = Node::builder().layout(layout).build().unwrap();
    let web = node.add_pod(PodSpec::new("shop", "web")).unwrap();
    let client = node.add_pod(PodSpec::new("shop", "client")).unwrap();
    for ip in web.ips() {
        client.must(&["ping", "-c1", "-W1", &ip.to_string()]).unwrap();
    }
    let (outside4, outside6) = node.plan().internet();
    client.must(&["ping", "-c1", "-W1", &outside4.to_string()]).unwrap();
    client.must(&["ping", "-c1", "-W1", &outside6.to_string()]).unwrap();
    let _server = web.tcp_echo(8080).unwrap();
    for address in [web.at(8080), web.at6(8080)] {
        let mut stream = client.tcp_connect(address, 3 * SECOND).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        let mut from_node = node.tcp_connect(address, 3 * SECOND).unwrap();
        from_node.write_all(b"x").unwrap();
    }
    let refused = client.tcp_connect(web.at(8081), 3 * SECOND).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn pods_reach_each_other_and_outside_over_a_bridge() {
    if !common::skip("bridge") {
        check_reachability(Layout::Bridge);
    }
}

#[test]
fn pods_reach_each_other_and_outside_over_host_routes() {
    if !common::skip("host routes") {
        check_reachability(Layout::HostRouted);
    }
}

#[test]
fn labs_run_in_parallel_with_addresses_of_their_own() {
    if common::skip("parallel labs") {
        return;
    }
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| check_reachability(Layout::Bridge));
        }
    });
    let (a, b) = (Node::new().unwrap(), Node::new().unwrap());
    assert_ne!(a.plan(), b.plan());
    assert_ne!(a.prefix(), b.prefix());
}

#[test]
fn services_reach_their_pods_and_reject_without_any() {
    if common::skip("services") {
        return;
    }
    let node = Node::new().unwrap();
    let web = node.add_pod(PodSpec::new("shop", "web-0").deployment("web")).unwrap();
    let client = node.add_pod(PodSpec::new("shop", "client")).unwrap();
    let service = node.add_service(Service::new("shop", "web").tcp("http", 80, 8080)).unwrap();
    node.program_services().unwrap();
    let _server = web.tcp_echo(8080).unwrap();
    for address in [service.at("http").unwrap(), service.at6("http").unwrap()] {
        client.tcp_connect(address, 3 * SECOND).unwrap();
    }
    // A second backend, then none: the rules follow.
    let second = node.add_pod(PodSpec::new("shop", "web-1").deployment("web")).unwrap();
    node.remove_pod(&web).unwrap();
    let _server = second.tcp_echo(8080).unwrap();
    client.tcp_connect(service.at("http").unwrap(), 3 * SECOND).unwrap();
    node.remove_pod(&second).unwrap();
    let refused = client.tcp_connect(service.at("http").unwrap(), 3 * SECOND).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(node.must(&["iptables-nft-save"]).unwrap().stdout.contains("shop/web:http has no endpoints"));
}

#[test]
fn drop_rules_drop() {
    if common::skip("drop rules") {
        return;
    }
    let node = Node::new().unwrap();
    let web = node.add_pod(PodSpec::new("shop", "web")).unwrap();
    let client = node.add_pod(PodSpec::new("shop", "client")).unwrap();
    let _servers: Vec<_> = [1, 2, 3, 4].map(|port| web.tcp_echo(port).unwrap()).into();
    for port in [1, 2, 3, 4] {
        client.tcp_connect(web.at(port), 3 * SECOND).unwrap();
    }
    node.nft(&format!(
        "table ip firewall {{ chain forward {{ type filter hook forward priority 0; ip daddr {} tcp dport 1 drop; }};\n}}",
        web.ipv4()
    ))
    .unwrap();
    node.iptables("-I FORWARD -p tcp --dport 2 -m comment --comment \"no two\" -j DROP").unwrap();
    node.iptables_with(Backend::Legacy, false, "-I FORWARD -p tcp --dport 3 -j DROP").unwrap();
    node.nft_chain_at_earliest_priority().unwrap();
    for port in [1, 2, 3] {
        assert_eq!(client.tcp_connect(web.at(port), SHORT).unwrap_err().kind(), ErrorKind::TimedOut, "{port}");
    }
    client.tcp_connect(web.at(4), 3 * SECOND).unwrap();
}

#[test]
fn a_pods_sockets_and_processes_carry_its_identity() {
    if common::skip("identity") {
        return;
    }
    let node = Node::new().unwrap();
    let pod = node.add_pod(PodSpec::new("shop", "web").deployment("web")).unwrap();
    let pid = pod.pause_pid().unwrap();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let expected = format!("/kubepods/besteffort/pod{}/{}", pod.uid(), pod.container());
    assert!(cgroup.contains(&expected), "{cgroup}");
    let inode = std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(inode.to_string_lossy(), format!("net:[{}]", pod.netns().inode()));
    // ss -e prints the cgroup of a socket, which the kernel took from the task that made it.
    let _server = pod.tcp_echo(8080).unwrap();
    let sockets = pod.must(&["ss", "-Htlne", "--cgroup"]).unwrap().stdout;
    assert!(sockets.contains(pod.uid()), "{sockets}");
}

#[test]
fn an_address_is_reused_within_a_second() {
    if common::skip("address reuse") {
        return;
    }
    let node = Node::new().unwrap();
    let client = node.add_pod(PodSpec::new("shop", "client")).unwrap();
    let old = node.add_pod(PodSpec::new("shop", "old")).unwrap();
    let _old_server = old.tcp_echo(80).unwrap();
    client.tcp_connect(old.at(80), 3 * SECOND).unwrap();
    let begin = Instant::now();
    let new = node.replace_pod(&old, PodSpec::new("shop", "new")).unwrap();
    let _server = new.tcp_echo(80).unwrap();
    client.tcp_connect(new.at(80), 3 * SECOND).unwrap();
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    assert_eq!(old.ips(), new.ips());
    assert_ne!(old.uid(), new.uid());
    assert!(!std::path::Path::new("/run/netns").join(old.netns().name()).exists());
}

#[test]
fn nothing_is_left_of_a_dropped_lab() {
    if common::skip("clean-up") {
        return;
    }
    let node = Node::new().unwrap();
    let pod = node.add_pod(PodSpec::new("shop", "web")).unwrap();
    let (prefix, directory, cgroup) =
        (node.prefix().to_owned(), node.directory().to_owned(), pod.cgroup().path().to_owned());
    let pid = pod.pause_pid().unwrap();
    drop(pod);
    drop(node);
    assert!(!directory.exists());
    assert!(!cgroup.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    let left: Vec<_> = std::fs::read_dir("/run/netns")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&format!("{prefix}-")))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
