//! Renames, reused indices, readings that missed something, routes that move.

use super::*;

fn veth(index: u32, name: &str, peer: u32, nsid: Option<i32>) -> LinkMessage {
    LinkMessage {
        index,
        name: name.to_owned(),
        kind: Some("veth".to_owned()),
        arphrd: 1,
        up: true,
        mtu: 1500,
        master: None,
        peer: Some(peer),
        peer_nsid: nsid,
    }
}

/// Events as `+name`, `~name`, `-name`.
fn told(feed: impl FnOnce(&mut LinkTable, &mut Vec<LinkEvent>), table: &mut LinkTable) -> Vec<String> {
    let mut events = Vec::new();
    feed(table, &mut events);
    let sign = |event: &LinkEvent| match event {
        LinkEvent::Added(_) => '+',
        LinkEvent::Changed(_) => '~',
        LinkEvent::Removed(_) => '-',
    };
    events.iter().map(|event| format!("{}{}", sign(event), event.link().name)).collect()
}

#[test]
fn a_rename_is_a_change() {
    let mut table = LinkTable::default();
    assert_eq!(told(|t, e| t.update(veth(5, "tmp0", 2, Some(0)), e), &mut table), ["+tmp0"]);
    assert_eq!(told(|t, e| t.update(veth(5, "tmp0", 2, Some(0)), e), &mut table), [""; 0]);
    assert_eq!(told(|t, e| t.update(veth(5, "cali1", 2, Some(0)), e), &mut table), ["~cali1"]);
    // Another link takes the old name.
    assert_eq!(told(|t, e| t.update(veth(6, "tmp0", 2, Some(1)), e), &mut table), ["+tmp0"]);
    assert_eq!(told(|t, e| t.remove(5, e), &mut table), ["-cali1"]);
    assert_eq!(told(|t, e| t.remove(5, e), &mut table), [""; 0]);
    assert_eq!(table.links().len(), 1);
}

#[test]
fn an_index_used_again_is_another_link() {
    let mut table = LinkTable::default();
    told(|t, e| t.update(veth(5, "a", 2, Some(0)), e), &mut table);
    // The deletion was lost; a new reading shows a link of another kind under the same index.
    let bridge = LinkMessage { kind: Some("bridge".to_owned()), peer: None, peer_nsid: None, ..veth(5, "b", 0, None) };
    assert_eq!(told(|t, e| t.replace(vec![bridge], e), &mut table), ["-a", "+b"]);
    assert_eq!(table.links()[&5].role, Role::Bridge);
    // A peer that moves away is the same link.
    told(|t, e| t.update(veth(7, "v", 8, None), e), &mut table);
    assert_eq!(told(|t, e| t.update(veth(7, "v", 2, Some(3)), e), &mut table), ["~v"]);
    assert_eq!(table.links()[&7].role, Role::PodSide);
}

#[test]
fn a_new_reading_tells_the_difference() {
    let mut table = LinkTable::default();
    told(|t, e| t.replace(vec![veth(1, "a", 2, None), veth(2, "b", 1, None)], e), &mut table);
    let again = vec![veth(2, "b2", 1, None), veth(3, "c", 9, Some(0))];
    assert_eq!(told(|t, e| t.replace(again, e), &mut table), ["-a", "~b2", "+c"]);
}

#[test]
fn roles_follow_the_default_route() {
    let mut table = LinkTable::default();
    told(|t, e| t.replace(vec![veth(1, "up", 2, Some(0)), veth(2, "pod", 2, Some(1))], e), &mut table);
    assert_eq!(told(|t, e| t.set_default_routes([1].into(), e), &mut table), ["~up"]);
    assert_eq!((table.links()[&1].role, table.links()[&2].role), (Role::Uplink, Role::PodSide));
    assert_eq!(told(|t, e| t.set_default_routes([2, 99].into(), e), &mut table), ["~up", "~pod"]);
    // A route's link that comes later knows its role from the start.
    told(|t, e| t.update(veth(99, "late", 2, Some(2)), e), &mut table);
    assert_eq!(table.links()[&99].role, Role::Uplink);
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut table = LinkTable::default();
    let all = (1..=MAX_LINKS as u32 + 3).map(|index| veth(index, "v", 1, None)).collect();
    told(|t, e| t.replace(all, e), &mut table);
    assert_eq!((table.links().len(), table.left_out()), (MAX_LINKS, 3));
}
