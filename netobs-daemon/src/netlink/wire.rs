//! Netlink framing: messages and attributes (netlink(7), `include/uapi/linux/netlink.h`). Machine byte order.

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Message types that are not a family's own.
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
/// Flags of a request, and of an answer that was assembled while the table changed.
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_ECHO: u16 = 8;
/// Of a request that makes something: fail if it is there already; make it if it is not.
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram, up to the first that is cut short.
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let body = rest.get(..length)?;
        let message = Message {
            kind: u16_at(body, 4)?,
            flags: u16_at(body, 6)?,
            sequence: u32_at(body, 8)?,
            payload: body.get(HEADER..)?,
        };
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a message or of a nested attribute, up to the first that is cut short.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16_at(rest, 0)? as usize;
        // The two high bits say "nested" and "network byte order", nothing about the type.
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A request with its header. `body` is the family's header and attributes.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Appends an attribute of four bytes.
pub(crate) fn push_u32(body: &mut Vec<u8>, kind: u16, value: u32) {
    push(body, kind, &value.to_ne_bytes());
}

/// Appends a string attribute with its terminating zero.
pub(crate) fn push_text(body: &mut Vec<u8>, kind: u16, text: &str) {
    push(body, kind, &[text.as_bytes(), &[0]].concat());
}

/// Appends an attribute, padded; `value` is at most 65,531 bytes, as its length has 16 bits.
pub(crate) fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    debug_assert!(value.len() <= usize::from(u16::MAX) - 4, "an attribute that is too long");
    body.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(aligned(body.len()), 0);
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A string attribute, up to its terminating zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_reads_back() {
        let mut body = vec![0; 4];
        push_u32(&mut body, 3, 77);
        push_text(&mut body, 4, "clsact");
        let mut bytes = request(90, NLM_F_DUMP, 5, &body);
        bytes.extend_from_slice(&request(3, 0, 6, &[]));
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (90, 0x301, 5));
        let read: Vec<_> = attributes(&found[0].payload[4..]).collect();
        assert_eq!(read, [(3, &77u32.to_ne_bytes()[..]), (4, b"clsact\0")]);
        assert_eq!((found[1].kind, found[1].payload.len()), (NLMSG_DONE, 0));
        assert_eq!(messages(&bytes[..bytes.len() - 1]).count(), 1);
    }

    #[test]
    fn lengths_that_make_no_sense_end_it() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(text(b"eth0\0x"), "eth0");
        assert_eq!(text(b"eth0"), "eth0");
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= 200);
            prop_assert!(attributes(&bytes).count() <= 200);
        }
    }
}
