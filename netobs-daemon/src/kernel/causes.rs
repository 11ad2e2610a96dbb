//! Why a packet was dropped where the kernel does not say: concluded from the function that freed it.
//!
//! Kernels before 5.17 tell no reasons at all, and each later one tells some that the one before did not
//! (`NOT_SPECIFIED`). What a function frees packets for, its source says; where it does so for several things that cannot be
//! told apart, there is no rule, and nothing is concluded. The functions are those that `kfree_skb` returns to: one that ends
//! with the call is left before it, so that its caller stands for it.

use netobs_common::tcp::segment;

use super::reasons::Reasons;

/// The reason that says nothing.
pub const UNSPECIFIED: &str = "NOT_SPECIFIED";
/// Numbers of reasons that the running kernel has no number for. No subsystem has so high a number.
const FIRST_NUMBER: u32 = 0x7fff_0000;

/// What a packet must be like for a rule to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Any packet.
    Always,
    /// None whose way goes on or ends here by its hop limit: it is at its last hop.
    LastHop,
    /// None of what ends a connection. `tcp_v4_rcv` frees with a packet for no socket what a socket in `TIME_WAIT` was sent, too
    /// (label `do_time_wait`), and that is a FIN or a RST on its way to whom is gone.
    NoEnd,
}

/// A function, what it frees packets for, and the reason with which a kernel that tells it by itself shows that it does.
struct Rule {
    function: &'static str,
    reason: &'static str,
    told: &'static str,
    when: When,
}

const fn rule(function: &'static str, reason: &'static str) -> Rule {
    Rule { function, reason, told: reason, when: When::Always }
}

/// Read from Linux 5.10 and 6.1.
const RULES: [Rule; 25] = [
    // net/netfilter/core.c: a verdict NF_DROP.
    rule("nf_hook_slow", "NETFILTER_DROP"),
    // net/ipv4/udp.c, net/ipv6/udp.c: no socket; also a wrong checksum, and a policy's refusal.
    rule("__udp4_lib_rcv", "NO_SOCKET"),
    rule("__udp6_lib_rcv", "NO_SOCKET"),
    // net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c: `no_tcp_socket`; also a wrong checksum, and a full backlog.
    Rule { function: "tcp_v4_rcv", reason: "NO_SOCKET", told: "NO_SOCKET", when: When::NoEnd },
    Rule { function: "tcp_v6_rcv", reason: "NO_SOCKET", told: "NO_SOCKET", when: When::NoEnd },
    // net/ipv4/icmp.c: an echo reply for which there is no ping socket (a raw one had its copy).
    rule("icmp_rcv", "NO_SOCKET"),
    // net/ipv4/ip_forward.c, net/ipv6/ip6_output.c: `too_many_hops`.
    Rule { function: "ip_forward", reason: "IP_INHDR", told: "IP_INHDR", when: When::LastHop },
    Rule { function: "ip6_forward", reason: "IP_INHDR", told: "IP_INHDR", when: When::LastHop },
    // net/ipv4/ip_input.c, net/ipv6/ip6_input.c: what a bridge floods, for another host; also headers that are wrong.
    rule("ip_rcv_core", "OTHERHOST"),
    rule("ip6_rcv_core", "OTHERHOST"),
    // net/ipv6/route.c: nothing else comes there.
    rule("ip6_pkt_drop", "IP_INNOROUTES"),
    rule("ip6_pkt_discard", "IP_INNOROUTES"),
    rule("ip6_pkt_discard_out", "IP_OUTNOROUTES"),
    // net/core/neighbour.c, by `arp_error_report` and `ndisc_error_report`.
    rule("neigh_invalidate", "NEIGH_FAILED"),
    rule("arp_error_report", "NEIGH_FAILED"),
    // net/ipv4/ip_fragment.c, net/ipv6/reassembly.c, net/ipv4/inet_fragment.c: what is left of a packet whose time is up.
    rule("ip_expire", "FRAG_REASM_TIMEOUT"),
    rule("ip6_frag_expire", "FRAG_REASM_TIMEOUT"),
    rule("inet_frag_rbtree_purge", "FRAG_REASM_TIMEOUT"),
    // net/ipv6/netfilter/nf_conntrack_reasm.c.
    rule("nf_ct_frag6_expire", "FRAG_REASM_TIMEOUT"),
    // net/core/stream.c, net/ipv4/af_inet.c, net/core/skbuff.c: what its owner left unread in a socket that is closed; TCP's last
    // FIN is among it, always.
    rule("sk_stream_kill_queues", "QUEUE_PURGE"),
    rule("inet_sock_destruct", "QUEUE_PURGE"),
    rule("skb_queue_purge", "QUEUE_PURGE"),
    // net/ipv4/igmp.c: all that it reads is freed so.
    rule("igmp_rcv", "SKB_CONSUMED"),
    // net/ipv6/icmp.c: likewise, before 6.3, with which neighbour discovery got reasons of its own.
    Rule { function: "icmpv6_rcv", reason: "SKB_CONSUMED", told: "IPV6_NDISC_BAD_OPTIONS", when: When::Always },
    // net/ipv6/mcast.c, where queries and reports are worked on later (since 5.13).
    rule("mld_query_work", "SKB_CONSUMED"),
];

/// What is known of a packet that was dropped for no reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped<'a> {
    /// The function that freed it.
    pub function: Option<&'a str>,
    /// One of [`segment`].
    pub segment: u8,
    /// TTL or hop limit.
    pub hop_limit: Option<u8>,
}

/// The rules that this kernel needs, with numbers of reasons.
#[derive(Clone, Debug, Default)]
pub struct Causes {
    unspecified: u32,
    rules: Vec<(&'static str, When, u32)>,
}

impl Causes {
    /// Finds out which rules the kernel with these reasons needs, and gives `reasons` names for what it lacks.
    pub fn new(reasons: &mut Reasons) -> Self {
        let needed: Vec<&Rule> = RULES.iter().filter(|rule| reasons.number(rule.told).is_none()).collect();
        let mut next = FIRST_NUMBER;
        let mut number = |name: &'static str| {
            reasons.number(name).unwrap_or_else(|| {
                next += 1;
                reasons.name_it(next, name);
                next
            })
        };
        let unspecified = number(UNSPECIFIED);
        let rules = needed.into_iter().map(|rule| (rule.function, rule.when, number(rule.reason))).collect();
        Self { unspecified, rules }
    }

    /// Number of the reason that says nothing.
    pub const fn unspecified(&self) -> u32 {
        self.unspecified
    }

    /// The reason for which such a packet was dropped, else the one that says nothing.
    pub fn conclude(&self, dropped: &Dropped<'_>) -> u32 {
        let Some(function) = dropped.function else { return self.unspecified };
        let found = self.rules.iter().find(|(name, when, _)| *name == function && when.holds(dropped));
        found.map_or(self.unspecified, |(.., number)| *number)
    }
}

impl When {
    fn holds(self, dropped: &Dropped<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::LastHop => dropped.hop_limit.is_some_and(|limit| limit <= 1),
            Self::NoEnd => !matches!(dropped.segment, segment::FIN | segment::RST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::reasons::Reasons;

    fn name(known: &[(&str, i64)], dropped: &Dropped<'_>) -> String {
        let mut reasons = Reasons::named(known);
        let causes = Causes::new(&mut reasons);
        reasons.name(causes.conclude(dropped)).into_owned()
    }

    fn at(function: &str) -> Dropped<'_> {
        Dropped { function: Some(function), ..Dropped::default() }
    }

    /// As Linux 6.1 has them.
    const SOME: [(&str, i64); 5] =
        [("NOT_SPECIFIED", 2), ("NO_SOCKET", 3), ("NETFILTER_DROP", 8), ("IP_INHDR", 10), ("IP_INNOROUTES", 50)];

    #[test]
    fn a_kernel_without_reasons() {
        for (function, expected) in [
            ("nf_hook_slow", "NETFILTER_DROP"),
            ("__udp6_lib_rcv", "NO_SOCKET"),
            ("icmpv6_rcv", "SKB_CONSUMED"),
            ("sk_stream_kill_queues", "QUEUE_PURGE"),
            ("ip_expire", "FRAG_REASM_TIMEOUT"),
            ("ip6_pkt_drop", "IP_INNOROUTES"),
            ("ip6_rcv_core", "OTHERHOST"),
            ("ip_rcv_finish_core", "NOT_SPECIFIED"),
        ] {
            assert_eq!(name(&[], &at(function)), expected, "{function}");
        }
        assert_eq!(name(&[], &Dropped::default()), "NOT_SPECIFIED");
    }

    #[test]
    fn the_packet_decides_where_a_function_has_several_reasons() {
        let tcp = |segment| name(&[], &Dropped { segment, ..at("tcp_v4_rcv") });
        assert_eq!(tcp(segment::SYN), "NO_SOCKET");
        assert_eq!(tcp(segment::OTHER), "NO_SOCKET");
        assert_eq!(tcp(segment::ACK), "NO_SOCKET");
        assert_eq!(tcp(segment::FIN), "NOT_SPECIFIED");
        assert_eq!(tcp(segment::RST), "NOT_SPECIFIED");
        let forwarded = |hop_limit| name(&[], &Dropped { hop_limit, ..at("ip_forward") });
        assert_eq!(forwarded(Some(1)), "IP_INHDR");
        assert_eq!(forwarded(Some(64)), "NOT_SPECIFIED");
        assert_eq!(forwarded(None), "NOT_SPECIFIED");
    }

    #[test]
    fn what_the_kernel_tells_by_itself_is_left_to_it() {
        assert_eq!(name(&SOME, &at("tcp_v4_rcv")), "NOT_SPECIFIED");
        assert_eq!(name(&SOME, &at("__udp4_lib_rcv")), "NOT_SPECIFIED");
        assert_eq!(name(&SOME, &at("icmpv6_rcv")), "SKB_CONSUMED");
        let newer = [&SOME[..], &[("SKB_CONSUMED", 1), ("IPV6_NDISC_BAD_OPTIONS", 90)]].concat();
        assert_eq!(name(&newer, &at("icmpv6_rcv")), "NOT_SPECIFIED");
    }

    #[test]
    fn the_kernels_own_numbers_stay() {
        let mut reasons = Reasons::named(&SOME);
        let causes = Causes::new(&mut reasons);
        assert_eq!(causes.unspecified(), 2);
        assert_eq!(reasons.number("NO_SOCKET"), Some(3));
        let mut none = Reasons::default();
        let causes = Causes::new(&mut none);
        assert!(causes.unspecified() > 0xffff);
        assert_eq!(none.number("NOT_SPECIFIED"), Some(causes.unspecified()));
    }
}
