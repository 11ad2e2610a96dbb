//! `RTM_NEWROUTE`: which links carry a default route (`include/uapi/linux/rtnetlink.h`).

use crate::netlink::wire::{attributes, u16_at, u32_at};

pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
pub(crate) const RTM_GETROUTE: u16 = 26;
/// Multicast groups, as bits: `RTNLGRP_IPV4_ROUTE` (7) and `RTNLGRP_IPV6_ROUTE` (11).
pub(crate) const GROUPS: u32 = 1 << 6 | 1 << 10;

/// Bytes of `struct rtmsg` and `struct rtnexthop`.
const HEADER: usize = 12;
const NEXTHOP: usize = 8;
const RTN_UNICAST: u8 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;
/// Most next hops read from one route.
const MAX_NEXTHOPS: usize = 256;

/// Body of a dump request for all routes of all families and tables.
pub(crate) fn request() -> Vec<u8> {
    vec![0; HEADER]
}

/// Whether a message is about a default route, of any table, that forwards.
pub(crate) fn is_default(payload: &[u8]) -> bool {
    // rtm_dst_len at 1, rtm_type at 7.
    payload.len() >= HEADER && payload[1] == 0 && payload[7] == RTN_UNICAST
}

/// Interface indices that a default route leads out of; empty for any other route.
pub(crate) fn default_interfaces(payload: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    if !is_default(payload) {
        return found;
    }
    for (kind, value) in attributes(&payload[HEADER..]) {
        match kind {
            RTA_OIF => found.extend(u32_at(value, 0)),
            RTA_MULTIPATH => {
                let mut rest = value;
                while let (Some(length), Some(index)) = (u16_at(rest, 0), u32_at(rest, 4)) {
                    if found.len() >= MAX_NEXTHOPS || (length as usize) < NEXTHOP {
                        break;
                    }
                    found.push(index);
                    rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::wire::push_u32;

    fn route(dst_len: u8, kind: u8) -> Vec<u8> {
        vec![2, dst_len, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0]
    }

    #[test]
    fn default_routes_name_their_interfaces() {
        let mut one = route(0, RTN_UNICAST);
        push_u32(&mut one, RTA_OIF, 3);
        assert_eq!(default_interfaces(&one), [3]);

        let mut several = route(0, RTN_UNICAST);
        several.extend_from_slice(&20u16.to_ne_bytes());
        several.extend_from_slice(&RTA_MULTIPATH.to_ne_bytes());
        for index in [4u32, 5] {
            several.extend_from_slice(&8u16.to_ne_bytes());
            several.extend_from_slice(&[0, 0]);
            several.extend_from_slice(&index.to_ne_bytes());
        }
        assert_eq!(default_interfaces(&several), [4, 5]);

        for (length, kind) in [(24, RTN_UNICAST), (0, 7)] {
            let mut other = route(length, kind);
            push_u32(&mut other, RTA_OIF, 3);
            assert!(default_interfaces(&other).is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if bytes.len() > 7 { bytes[1] = 0; bytes[7] = 1; }
            prop_assert!(default_interfaces(&bytes).len() <= MAX_NEXTHOPS + 16);
        }
    }
}
