//! Names by place: the interface or namespace that a packet was met in.

use netobs_common::LOOPBACK;
use netobs_common::trail::hook;

use super::tests::{NEW_INTERFACE, OWN, at, check, dropped, with_socket};

#[test]
fn by_place() {
    let ingress = at(hook::TCX_INGRESS, 11, 0);
    let egress = at(hook::TCX_EGRESS, 12, 0);
    check(&dropped("10.0.0.1:1", "10.0.0.2:80", &[ingress, egress]), "web-0 Place Ip", "db-0 Place Ip");
    // A spoofed source: the pod behind the interface is named.
    check(&dropped("10.0.0.2:1", "8.8.8.8:80", &[ingress]), "web-0 Place Ip mismatch", "unknown: unknown_ip");
    check(&dropped("8.8.8.8:1", "10.0.0.2:80", &[ingress]), "web-0 Place", "db-0 Ip");
    // A group is nobody's place, however many pods a copy goes to.
    check(&dropped("10.0.0.1:1", "224.0.0.251:80", &[ingress, egress]), "web-0 Place Ip", "unknown: unknown_ip");
    // Not the pod's side.
    check(&dropped("10.0.0.1:1", "10.0.0.2:80", &[at(hook::TCX_INGRESS, 5, 0)]), "web-0 Ip", "db-0 Ip");
    // What OUTPUT and INPUT met is this node's, also with an address that nobody knows: the bridge's.
    check(&dropped("10.0.0.254:1", "10.0.0.2:80", &[at(hook::NETFILTER + 3, 0, 5)]), "node-a Place", "db-0 Ip");
    check(&dropped("10.0.0.1:1", "10.0.0.254:80", &[at(hook::NETFILTER + 1, 5, 0)]), "web-0 Ip", "node-a Place");
    // In a pod's namespace: the end whose address is the pod's, else neither.
    check(&with_socket(dropped("10.0.0.1:1", "10.0.0.2:80", &[]), 102, 0, 9), "web-0 Ip", "db-0 Place Ip");
    check(&with_socket(dropped("8.8.8.8:1", "10.0.0.1:80", &[]), 102, 0, 9), "unknown: unknown_ip", "web-0 Ip");
}

#[test]
fn a_loopback_address_is_of_its_namespace_unless_a_wire_brought_it() {
    let on = |ifindex, netns| {
        let mut joined = with_socket(dropped("127.0.0.1:1", "127.0.0.1:80", &[]), netns, 0, 9);
        joined.ifindex = ifindex;
        joined
    };
    for ifindex in [Some(LOOPBACK), None] {
        check(&on(ifindex, 101), "web-0 Place", "web-0 Place");
        check(&on(ifindex, OWN), "node-a Place", "node-a Place");
    }
    check(&on(Some(5), 101), "unknown: unknown_ip", "unknown: unknown_ip");
    // A packet that no route takes on is dropped at `lo`, and goes elsewhere all the same.
    let mut unrouted = with_socket(dropped("10.0.0.1:1", "8.8.8.8:80", &[]), 101, 0, 9);
    unrouted.ifindex = Some(LOOPBACK);
    check(&unrouted, "web-0 Place Ip", "unknown: unknown_ip");
}

#[test]
fn a_pod_older_than_the_interface_is_not_behind_it() {
    let (web, db) = ("10.0.0.1:1", "10.0.0.2:80");
    let nobody = "unknown: pod_not_listed Ip mismatch";
    // Interface 13 has a pod that is not known yet, 14 is newer than the last look.
    for port in [13, 14] {
        check(&dropped(web, db, &[at(hook::TCX_EGRESS, port, 0)]), "web-0 Ip", nobody);
        check(&dropped(web, db, &[at(hook::TCX_INGRESS, port, 0)]), nobody, "db-0 Ip");
    }
    // Its address may be a Service's or nobody's all the same.
    check(&dropped(web, "10.96.0.10:80", &[at(hook::TCX_EGRESS, 13, 0)]), "web-0 Ip", "service db Ip");
    check(&dropped(web, "8.8.8.8:80", &[at(hook::TCX_EGRESS, 13, 0)]), "web-0 Ip", "unknown: unknown_ip");
    // A minute later its namespace is one that cannot be seen: the address has to do.
    let mut later = dropped(web, db, &[at(hook::TCX_EGRESS, 13, 0)]);
    later.boot_ns = NEW_INTERFACE + 60_000_000_000;
    check(&later, "web-0 Ip", "db-0 Ip");
}
