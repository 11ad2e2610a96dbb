//! What the families that tell each packet once (resets, ICMP errors) begin with: is it new here, and may it have a record?

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_skb_cgroup_id};
use netobs_common::ABI_VERSION;
use netobs_common::record::{BucketKey, Header, direction, flags};
use netobs_common::trail::{CpuState, hook, told};

use crate::bucket;
use crate::globals::global;
use crate::headers::{self, Source};
use crate::tcx::Seen;
use crate::trail::{self, Sight};

/// A packet that there is something to tell of.
pub struct Sighted {
    /// Its addresses, source first.
    pub addresses: [u32; 8],
    /// Whether a record was made of it before, with other addresses.
    pub translated: bool,
    /// One of [`direction`].
    pub direction: u8,
    /// Interface by which it came into this namespace; 0: it was made here.
    pub arrival_ifindex: u32,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub now: u64,
}

/// Counts the packet in family `F`'s ledger. `None` if nothing is to be told of it. `first` is the first word of its
/// transport header, or what takes its place.
#[inline(always)]
pub fn sight<const F: usize>(state: &mut CpuState, seen: &Seen<impl Source>, first: u32) -> Option<Sighted> {
    let Seen { skb, packet, place, .. } = seen;
    let Some(addresses) = headers::addresses(&seen.source, packet.version, place.offset) else {
        state.counters.families[F].seen += 1;
        state.counters.families[F].unparsed += 1;
        return None;
    };
    // SAFETY: a field of the context.
    let came_in = unsafe { (**skb).ingress_ifindex };
    let recorded = headers::tuple_digest(&addresses, first);
    let sight = trail::sight(trail::of(state, *skb as u64), recorded, *place, came_in != 0);
    if sight == Sight::Repeated {
        state.counters.families[F].repeated += 1;
        return None;
    }
    state.counters.families[F].seen += 1;
    let ingress = place.hook == hook::TCX_INGRESS;
    Some(Sighted {
        addresses,
        translated: sight == Sight::Translated,
        direction: if ingress { direction::INGRESS } else { direction::EGRESS },
        arrival_ifindex: if ingress && place.arrival { seen.ifindex } else { came_in },
        // SAFETY: no preconditions.
        now: unsafe { bpf_ktime_get_boot_ns() },
    })
}

impl Sighted {
    /// A key of its addresses in this namespace.
    #[inline(always)]
    pub fn key(&self, seen: &Seen<impl Source>, kind: u8, reason: u32, response: bool) -> BucketKey {
        let mut key = BucketKey {
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            reason,
            protocol: seen.packet.protocol,
            kind,
            ip_version: seen.packet.version,
            response: u8::from(response),
            ..bucket::EMPTY
        };
        // SAFETY: the key begins with both addresses, 4-aligned.
        unsafe { (&raw mut key).cast::<[u32; 8]>().write(self.addresses) };
        key
    }

    /// Whether it may have a record. One that was told before, with other addresses, always may.
    #[inline(always)]
    pub fn admitted<const F: usize>(
        &self,
        state: &mut CpuState,
        seen: &Seen<impl Source>,
        key: &mut BucketKey,
    ) -> bool {
        if self.translated {
            return true;
        }
        trail::of(state, seen.skb as u64).told = told::COUNTED;
        bucket::admit::<F>(state, key, seen.length(), self.now)
    }

    /// The ring had no room for the record: the packet is counted in its bucket. The second record of one packet is
    /// lost.
    #[inline(always)]
    pub fn no_room<const F: usize>(&self, state: &mut CpuState, seen: &Seen<impl Source>, key: &mut BucketKey) {
        if self.translated {
            state.counters.families[F].ring_full += 1;
        } else {
            bucket::count_instead::<F>(state, key, seen.length(), self.now);
        }
    }

    /// The head of its record of `length` bytes.
    #[inline(always)]
    pub fn header(&self, seen: &Seen<impl Source>, kind: u8, length: usize) -> Header {
        Header {
            abi: ABI_VERSION,
            kind,
            flags: if self.translated { flags::TRANSLATED } else { 0 },
            length: length as u32,
            boot_ns: self.now,
            packet: seen.skb as u64,
            // SAFETY: the program's own context.
            cgroup: unsafe { bpf_skb_cgroup_id(seen.skb) },
            netns: global!(KNOBS.own_netns),
            ifindex: seen.ifindex,
            digest: seen.digest,
            // SAFETY: no preconditions.
            cpu: unsafe { bpf_get_smp_processor_id() as u32 },
        }
    }

    /// A record was made.
    #[inline(always)]
    pub fn told<const F: usize>(state: &mut CpuState, seen: &Seen<impl Source>) {
        state.counters.families[F].submitted += 1;
        trail::of(state, seen.skb as u64).told = told::WHOLE;
    }
}
