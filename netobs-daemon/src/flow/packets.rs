//! Packets of the last moments, by their identity in the kernel.

use std::collections::VecDeque;

use super::Map;
use crate::event::raw::Context;

/// How long two records with one identity are taken for one packet: 50 ms. Kernel memory is reused, and a packet that
/// waits longer in a queue is rare.
pub const SAME_PACKET_NS: u64 = 50_000_000;

type Identity = (u64, u32);

/// What is remembered of each packet, for [`SAME_PACKET_NS`].
#[derive(Debug)]
pub struct RecentPackets<T> {
    known: Map<Identity, (u64, T)>,
    /// Every insertion; one whose packet was inserted again since is skipped when its turn comes.
    order: VecDeque<(u64, Identity)>,
    limit: usize,
    evicted: u64,
}

impl<T> RecentPackets<T> {
    /// Remembers at most `limit` packets.
    pub fn new(limit: usize) -> Self {
        Self { known: Map::default(), order: VecDeque::new(), limit: limit.max(1), evicted: 0 }
    }

    /// Packets forgotten before their time because there was no room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What is remembered of this packet.
    pub fn get(&self, context: &Context) -> Option<&T> {
        let (boot_ns, value) = self.known.get(&identity(context)?)?;
        (boot_ns.abs_diff(context.boot_ns) <= SAME_PACKET_NS).then_some(value)
    }

    /// Remembers a packet, in place of what is known under its identity. A packet without identity is not remembered.
    pub fn insert(&mut self, context: &Context, value: T) {
        let Some(identity) = identity(context) else { return };
        self.purge(context.boot_ns);
        while self.order.len() >= self.limit {
            self.evicted += u64::from(self.pop());
        }
        self.known.insert(identity, (context.boot_ns, value));
        self.order.push_back((context.boot_ns, identity));
    }

    /// Forgets packets whose time is over.
    pub fn purge(&mut self, now_ns: u64) {
        while self.order.front().is_some_and(|(boot_ns, _)| boot_ns.saturating_add(SAME_PACKET_NS) < now_ns) {
            self.pop();
        }
    }

    /// Forgets the oldest insertion; true if that was still the newest of its packet.
    fn pop(&mut self) -> bool {
        let Some((boot_ns, identity)) = self.order.pop_front() else { return false };
        let current = self.known.get(&identity).is_some_and(|(newest, _)| *newest == boot_ns);
        if current {
            self.known.remove(&identity);
        }
        current
    }
}

/// `None` if the digest or the address could not be read.
fn identity(context: &Context) -> Option<Identity> {
    let digest = context.digest?;
    (context.packet != 0).then_some((context.packet, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(packet: u64, boot_ns: u64) -> Context {
        Context { boot_ns, packet, digest: Some(1), cgroup: None, netns: None, ifindex: None, cpu: 0 }
    }

    #[test]
    fn a_packet_is_remembered_for_its_time() {
        let mut packets = RecentPackets::new(8);
        packets.insert(&context(1, 1_000), 'a');
        assert_eq!(packets.get(&context(1, 1_000 + SAME_PACKET_NS)), Some(&'a'));
        assert_eq!(packets.get(&context(1, 1_001 + SAME_PACKET_NS)), None);
        assert_eq!(packets.get(&context(2, 1_000)), None);
        assert_eq!(packets.get(&Context { digest: Some(2), ..context(1, 1_000) }), None);
    }

    #[test]
    fn what_has_no_identity_is_not_remembered() {
        let mut packets = RecentPackets::new(8);
        let unknown = Context { digest: None, ..context(1, 0) };
        packets.insert(&unknown, 'a');
        packets.insert(&context(0, 0), 'b');
        assert_eq!((packets.get(&unknown), packets.get(&context(0, 0)), packets.order.len()), (None, None, 0));
    }

    #[test]
    fn the_newest_counts_and_the_oldest_goes() {
        let mut packets = RecentPackets::new(3);
        for (at, packet) in [1, 2, 1, 3].into_iter().enumerate() {
            packets.insert(&context(packet, at as u64), at);
        }
        // The first insertion of packet 1 went, but that is not what is remembered of it.
        assert_eq!((packets.get(&context(1, 4)), packets.evicted()), (Some(&2), 0));
        packets.insert(&context(4, 4), 4);
        assert_eq!((packets.get(&context(2, 4)), packets.evicted()), (None, 1));
        packets.purge(5 + SAME_PACKET_NS);
        assert!(packets.known.is_empty() && packets.order.is_empty());
    }
}
