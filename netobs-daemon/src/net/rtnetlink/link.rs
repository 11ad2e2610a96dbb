//! `RTM_NEWLINK` and `RTM_DELLINK` (`include/uapi/linux/if_link.h`).

use crate::netlink::wire::{attributes, push_u32, text, u16_at, u32_at};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
/// Multicast group, as a bit.
pub(crate) const GROUP: u32 = 1;

/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
/// Leave statistics out of the answer.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkMessage {
    pub index: u32,
    pub name: String,
    pub kind: Option<String>,
    pub arphrd: u16,
    pub up: bool,
    pub mtu: u32,
    pub master: Option<u32>,
    pub peer: Option<u32>,
    pub peer_nsid: Option<i32>,
}

/// Body of a dump request for all links.
pub(crate) fn request() -> Vec<u8> {
    let mut body = vec![0; HEADER];
    push_u32(&mut body, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    body
}

/// Decodes a message; `None` if it is cut short or of another family (a bridge tells of its ports in messages of the
/// same type; a port leaving is not a link going).
pub(crate) fn parse(payload: &[u8]) -> Option<LinkMessage> {
    let family = *payload.first()?;
    let index = u32_at(payload, 4)?;
    let rest = payload.get(HEADER..)?;
    if family != 0 || index == 0 {
        return None;
    }
    let mut link = LinkMessage {
        index,
        name: String::new(),
        kind: None,
        arphrd: u16_at(payload, 2)?,
        up: u32_at(payload, 8)? & IFF_UP != 0,
        mtu: 0,
        master: None,
        peer: None,
        peer_nsid: None,
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_LINK => link.peer = u32_at(value, 0).filter(|&index| index != 0),
            IFLA_MASTER => link.master = u32_at(value, 0).filter(|&index| index != 0),
            IFLA_LINKINFO => {
                link.kind = attributes(value).find(|&(kind, _)| kind == IFLA_INFO_KIND).map(|(_, value)| text(value));
            }
            IFLA_LINK_NETNSID => link.peer_nsid = u32_at(value, 0).map(u32::cast_signed),
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn bytes(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn message(family: u8) -> Vec<u8> {
        let mut out = vec![family, 0, 1, 0];
        out.extend_from_slice(&7u32.to_ne_bytes());
        out.extend_from_slice(&IFF_UP.to_ne_bytes());
        out.extend_from_slice(&0u32.to_ne_bytes());
        out.extend(bytes(IFLA_IFNAME, b"veth1\0"));
        out.extend(bytes(IFLA_MTU, &1450u32.to_ne_bytes()));
        out.extend(bytes(IFLA_LINK, &2u32.to_ne_bytes()));
        out.extend(bytes(IFLA_MASTER, &4u32.to_ne_bytes()));
        out.extend(bytes(IFLA_LINK_NETNSID, &0u32.to_ne_bytes()));
        // Nested, as newer kernels mark it.
        out.extend(bytes(IFLA_LINKINFO | 0x8000, &bytes(IFLA_INFO_KIND, b"veth\0")));
        out
    }

    #[test]
    fn a_veth() {
        let link = parse(&message(0)).unwrap();
        let expected = LinkMessage {
            index: 7,
            name: "veth1".to_owned(),
            kind: Some("veth".to_owned()),
            arphrd: u16::from_ne_bytes([1, 0]),
            up: true,
            mtu: 1450,
            master: Some(4),
            peer: Some(2),
            peer_nsid: Some(0),
        };
        assert_eq!(link, expected);
        // AF_BRIDGE: news of a port.
        assert_eq!(parse(&message(7)), None);
        assert_eq!(parse(&message(0)[..15]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(mut edits in prop::collection::vec((0usize..120, any::<u8>()), 0..8), cut in 0usize..120) {
            let mut bytes = message(0);
            for (at, byte) in edits.drain(..) {
                if let Some(slot) = bytes.get_mut(at) { *slot = byte; }
            }
            bytes.truncate(cut);
            let _ = parse(&bytes);
        }
    }
}
