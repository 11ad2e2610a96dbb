//! `RTM_GETNSID`: the id that this namespace has for another (`include/uapi/linux/net_namespace.h`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::netlink::wire::{attributes, push_u32, u32_at};

pub(crate) const RTM_GETNSID: u16 = 90;
/// Bytes of `struct rtgenmsg`, aligned.
const HEADER: usize = 4;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// Body of a request for the id of an open namespace.
pub(crate) fn request(namespace: BorrowedFd<'_>) -> Vec<u8> {
    let mut body = vec![0; HEADER];
    push_u32(&mut body, NETNSA_FD, namespace.as_raw_fd().cast_unsigned());
    body
}

/// The id in an answer; `None` while the namespace has none (-1).
pub(crate) fn parse(payload: &[u8]) -> Option<i32> {
    attributes(payload.get(HEADER..)?)
        .find(|&(kind, _)| kind == NETNSA_NSID)
        .and_then(|(_, value)| u32_at(value, 0))
        .map(u32::cast_signed)
        .filter(|&id| id >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unassigned_is_none() {
        for (id, expected) in [(0, Some(0)), (12, Some(12)), (-1i32, None)] {
            let mut payload = vec![0; HEADER];
            push_u32(&mut payload, NETNSA_NSID, id.cast_unsigned());
            assert_eq!(parse(&payload), expected);
        }
        assert_eq!(parse(&[]), None);
    }
}
