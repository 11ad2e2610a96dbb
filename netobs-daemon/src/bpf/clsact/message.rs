//! Traffic control's messages about qdiscs and filters (`include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::mark::{HANDLE, PROTOCOL};
use crate::netlink::wire::{attributes, push, push_text, push_u32, text, u32_at};

pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_GETQDISC: u16 = 38;
pub(super) const RTM_NEWTFILTER: u16 = 44;
pub(super) const RTM_DELTFILTER: u16 = 45;
pub(super) const RTM_GETTFILTER: u16 = 46;

/// Bytes of `struct tcmsg`.
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAGS_GEN: u16 = 9;
/// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is the verdict, and `TC_ACT_UNSPEC` leaves it to the next filter
/// (`cls_bpf_classify`, `net/sched/cls_bpf.c`).
const DIRECT_ACTION: u32 = 1;
/// `TCA_CLS_FLAGS_SKIP_HW`: no network card is asked to run it.
const SKIP_HARDWARE: u32 = 1;
/// Where `ingress` and `clsact` sit (`TC_H_INGRESS`, `TC_H_CLSACT`: the same), and their handle.
const QDISC_PARENT: u32 = 0xffff_fff1;
const QDISC_HANDLE: u32 = 0xffff_0000;
/// Where filters sit: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and the same with `TC_H_MIN_EGRESS`.
const FILTER_PARENT: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
const CLSACT: &str = "clsact";
const BPF: &str = "bpf";

/// `struct tcmsg`. `info` is a filter's preference in the upper half, and its protocol in network byte order in the lower.
fn header(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for field in [ifindex, handle, parent, info] {
        body.extend_from_slice(&field.to_ne_bytes());
    }
    body
}

fn info(preference: u16) -> u32 {
    u32::from(preference) << 16 | u32::from(PROTOCOL.to_be())
}

/// Body of a request to make an interface's clsact qdisc.
pub(super) fn new_clsact(ifindex: u32) -> Vec<u8> {
    let mut body = header(ifindex, QDISC_HANDLE, QDISC_PARENT, 0);
    push_text(&mut body, TCA_KIND, CLSACT);
    body
}

/// Body of a question for the qdisc that sits in clsact's place.
pub(super) fn get_qdisc(ifindex: u32) -> Vec<u8> {
    header(ifindex, 0, QDISC_PARENT, 0)
}

/// Whether an answer to it names a clsact qdisc; `ingress`, its elder, has no egress. `None` if it names nothing.
pub(super) fn is_clsact(payload: &[u8]) -> Option<bool> {
    let kind = attributes(payload.get(HEADER..)?).find(|&(kind, _)| kind == TCA_KIND)?.1;
    Some(text(kind) == CLSACT)
}

/// Body of a request to add a filter of ours.
pub(super) fn new_filter(ifindex: u32, egress: bool, preference: u16, program: BorrowedFd<'_>, name: &str) -> Vec<u8> {
    let mut options = Vec::new();
    push_u32(&mut options, TCA_BPF_FD, program.as_raw_fd().cast_unsigned());
    push_text(&mut options, TCA_BPF_NAME, name);
    push_u32(&mut options, TCA_BPF_FLAGS, DIRECT_ACTION);
    push_u32(&mut options, TCA_BPF_FLAGS_GEN, SKIP_HARDWARE);
    let mut body = header(ifindex, HANDLE.get(), FILTER_PARENT[usize::from(egress)], info(preference));
    push_text(&mut body, TCA_KIND, BPF);
    push(&mut body, TCA_OPTIONS, &options);
    body
}

/// Body of a request to delete a filter of ours. A handle of 0 would mean all filters of the preference: ours never is.
pub(super) fn delete_filter(ifindex: u32, egress: bool, preference: u16) -> Vec<u8> {
    let mut body = header(ifindex, HANDLE.get(), FILTER_PARENT[usize::from(egress)], info(preference));
    push_text(&mut body, TCA_KIND, BPF);
    body
}

/// Body of a dump request for the filters of one direction of an interface.
pub(super) fn dump_filters(ifindex: u32, egress: bool) -> Vec<u8> {
    header(ifindex, 0, FILTER_PARENT[usize::from(egress)], 0)
}

/// A filter as the kernel describes it. The dump's order is the order in which filters see a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub preference: u16,
    /// Of the packets it is for, host byte order.
    pub protocol: u16,
    /// Chain; packets begin in chain 0.
    pub chain: u32,
    /// 0: no filter but the place of its preference, which comes before its filters.
    pub handle: u32,
    pub is_bpf: bool,
    /// Of bpf filters; others have none.
    pub name: Option<String>,
}

/// Decodes a row of a dump; `None` if it is cut short.
pub(super) fn parse(payload: &[u8]) -> Option<Row> {
    let info = u32_at(payload, 16)?;
    let mut row = Row {
        preference: (info >> 16) as u16,
        protocol: u16::from_be(info as u16),
        chain: 0,
        handle: u32_at(payload, 8)?,
        is_bpf: false,
        name: None,
    };
    let mut options = None;
    for (kind, value) in attributes(payload.get(HEADER..)?) {
        match kind {
            TCA_KIND => row.is_bpf = text(value) == BPF,
            TCA_CHAIN => row.chain = u32_at(value, 0)?,
            TCA_OPTIONS => options = Some(value),
            _ => {}
        }
    }
    // What options mean depends on the kind.
    if let Some(options) = options.filter(|_| row.is_bpf) {
        row.name = attributes(options).find(|&(kind, _)| kind == TCA_BPF_NAME).map(|(_, value)| text(value));
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::AsFd as _;

    use proptest::prelude::*;

    use super::*;

    /// What the kernel says of a filter that was made by this request: the same attributes, and the chain.
    fn described(preference: u16, name: &str) -> Vec<u8> {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut body = new_filter(7, true, preference, file.as_fd(), name);
        push_u32(&mut body, TCA_CHAIN, 0);
        body
    }

    #[test]
    fn ours_reads_back() {
        let expected = Row {
            preference: 5,
            protocol: 3,
            chain: 0,
            handle: HANDLE.get(),
            is_bpf: true,
            name: Some("netobs".to_owned()),
        };
        assert_eq!(parse(&described(5, "netobs")).unwrap(), expected);
        assert_eq!(parse(&[0; 19]), None);
    }

    #[test]
    fn options_of_other_kinds_are_not_read() {
        let mut body = header(7, 0x8000_0800, 0xffff_fff2, info(49_152));
        push_text(&mut body, TCA_KIND, "u32");
        let mut options = Vec::new();
        push_text(&mut options, TCA_BPF_NAME, "netobs");
        push(&mut body, TCA_OPTIONS, &options);
        let row = parse(&body).unwrap();
        assert_eq!((row.is_bpf, row.name, row.preference, row.handle), (false, None, 49_152, 0x8000_0800));
    }

    #[test]
    fn qdiscs_are_told_apart() {
        assert_eq!(is_clsact(&new_clsact(3)), Some(true));
        let mut elder = header(3, QDISC_HANDLE, QDISC_PARENT, 0);
        push_text(&mut elder, TCA_KIND, "ingress");
        assert_eq!(is_clsact(&elder), Some(false));
        assert_eq!(is_clsact(&get_qdisc(3)), None);
        assert_eq!(is_clsact(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&bytes), is_clsact(&bytes));
        }

        #[test]
        fn hostile_rows_parse_or_are_refused(
            edits in prop::collection::vec((0usize..120, any::<u8>()), 0..8), cut in 0usize..140,
        ) {
            let mut bytes = described(5, "netobs-egress:1-2");
            for (at, byte) in edits {
                if let Some(slot) = bytes.get_mut(at) { *slot = byte; }
            }
            bytes.truncate(cut);
            // Whatever attributes say, what is in the header is read; only a header or a chain that is cut short is not.
            if let Some(row) = parse(&bytes) {
                prop_assert_eq!(Some(row.handle), u32_at(&bytes, 8));
                prop_assert!(row.name.is_none() || row.is_bpf);
            }
            prop_assert!(bytes.len() >= HEADER || parse(&bytes).is_none());
            let _ = is_clsact(&bytes);
        }
    }
}
