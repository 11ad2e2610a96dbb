//! Whether what was only counted is a problem.
#![allow(clippy::unwrap_used)]

use super::tests::{dropped, observe_in};
use crate::event::joined::{Coalesced, JoinedKind};
use crate::event::observation::Severity;
use crate::event::tcp::segment;

/// Numbers of the test's kernel.
const NOT_SPECIFIED: u32 = 2;
const NFT_DO_CHAIN: u64 = 1;
const TCP_V4_RCV: u64 = 2;

#[test]
fn sums_are_judged_by_class_and_place() {
    let check = |reason, location, segment, expected| {
        let mut joined = dropped("10.0.0.1:4711", "10.0.0.2:5432", &[]);
        (joined.context, joined.count) = (None, 400);
        joined.kind = JoinedKind::Coalesced(Coalesced::Drops { reason, location, segment, bytes: 1 });
        let observation = observe_in(&joined, false);
        assert_eq!(observation.severity, expected, "{reason} {location} {segment}");
        observation.drop.unwrap().location
    };
    // As a server that closes first has them by the hundred.
    let location = check(NOT_SPECIFIED, TCP_V4_RCV, segment::FIN, Severity::Info);
    assert_eq!(location.as_deref(), Some("tcp_v4_rcv"));
    check(NOT_SPECIFIED, TCP_V4_RCV, segment::SYN, Severity::Problem);
    check(NOT_SPECIFIED, TCP_V4_RCV, segment::OTHER, Severity::Problem);
    check(NOT_SPECIFIED, NFT_DO_CHAIN, segment::FIN, Severity::Problem);
    assert_eq!(check(NOT_SPECIFIED, 0, segment::FIN, Severity::Problem), None);
}

#[test]
fn classes() {
    let check = |flags, class| assert_eq!(segment::of(flags), class, "{flags:#04x}");
    check(0x02, segment::SYN);
    check(0x12, segment::SYN);
    check(0x04, segment::RST);
    check(0x14, segment::RST);
    check(0x11, segment::FIN);
    check(0x15, segment::RST);
    check(0x10, segment::ACK);
    check(0x18, segment::OTHER);
    check(0x00, segment::OTHER);
}
