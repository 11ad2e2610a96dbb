//! TCP resets on their way: each once, and once more where translation changes its addresses.

use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use netobs_common::counters::family::RESET;
use netobs_common::record::{ResetRecord, kind};
use netobs_common::tcp::flag;
use netobs_common::trail::CpuState;

use crate::globals::global;
use crate::headers::{self, Source};
use crate::maps::RING_RESET;
use crate::sighted::{self, Sighted};
use crate::tcx::Seen;
use crate::{connection, emit};

/// Looks at a segment with RST. `words` are the first four of its TCP header.
#[inline(never)]
pub fn observe(state: &mut CpuState, seen: &Seen<impl Source>, words: &[u32; 4]) {
    let Some(sighted) = sighted::sight::<RESET>(state, seen, words[0]) else { return };
    let tcp_flags = (u32::from_be(words[3]) >> 16) as u8;
    let mut key = sighted.key(seen, kind::RESET, 0, answers_syn(tcp_flags, words[1]));
    if !sighted.admitted::<RESET>(state, seen, &mut key) {
        return;
    }
    let Some(mut entry) = RING_RESET.reserve::<ResetRecord>(0) else {
        sighted.no_room::<RESET>(state, seen, &mut key);
        return;
    };
    let version = seen.packet.version;
    let (opener, opened_ns) = connection::opener(&sighted.addresses, words[0], version, global!(KNOBS.own_netns));
    let record = entry.as_mut_ptr();
    let limit = headers::hop_limit(&seen.source, version, seen.place.offset);
    // SAFETY: ring memory of the record's size and alignment; every byte of it is written: addresses, ports and the two
    // groups of four single bytes as words (their order is asserted in netobs-common; the machine is little-endian).
    unsafe {
        (&raw mut (*record).header).write(sighted.header(seen, kind::RESET, size_of::<ResetRecord>()));
        (&raw mut (*record).source).cast::<[u32; 8]>().write(sighted.addresses);
        (&raw mut (*record).source_port).cast::<u32>().write(words[0]);
        (&raw mut (*record).sequence).write(u32::from_be(words[1]));
        (&raw mut (*record).acknowledgment).write(u32::from_be(words[2]));
        (&raw mut (*record).arrival_ifindex).write(sighted.arrival_ifindex);
        let what = emit::bytes(tcp_flags, version, sighted.direction, opener);
        (&raw mut (*record).tcp_flags).cast::<u32>().write(what);
        (&raw mut (*record).hop_limit).cast::<u32>().write(emit::bytes(limit, 0, 0, 0));
        (&raw mut (*record).opened_ns).write(opened_ns);
    }
    entry.submit(emit::wake_flags());
    debug!(&TcContext::new(seen.skb), "reset: flags {} on ifindex {}", tcp_flags, seen.ifindex);
    Sighted::told::<RESET>(state, seen);
}

/// Whether a reset answers a SYN: it acknowledges and has sequence number 0 (RFC 9293 section 3.5.2, group 1).
#[inline(always)]
pub fn answers_syn(flags: u8, sequence: u32) -> bool {
    flags & flag::ACK != 0 && sequence == 0
}
