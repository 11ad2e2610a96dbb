//! The running kernel's numbers of the drop reasons that the table has to know.

/// Numbers of `enum skb_drop_reason`; `None` where the kernel lacks the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropReasons {
    /// `PKT_TOO_BIG`: forwarding (`ip_forward`, `ip6_forward`) found the packet too big for the way out.
    pub too_big: Option<u32>,
    /// `NOT_SPECIFIED`: the kernel does not say. What a bridge, a veth pair or fragmentation drops for its size has this.
    pub unspecified: Option<u32>,
    /// Those of segments that are for no connection, and that the kernel answers with a reset: `NO_SOCKET`, and `TCP_FLAGS` where
    /// there is a listener (`tcp_rcv_state_process`, `net/ipv4/tcp_input.c`: an ACK to it).
    pub no_connection: Vec<u32>,
    /// `NETFILTER_DROP`.
    pub netfilter: Option<u32>,
    /// Those with which a packet's fragments are given up: `FRAG_REASM_TIMEOUT`, `FRAG_TOO_FAR`. `DUP_FRAG` is none of them:
    /// only the copy of a fragment is freed with it, the queue goes on (`ip_frag_queue`, `net/ipv4/ip_fragment.c`).
    pub reassembly: Vec<u32>,
}

impl DropReasons {
    /// Asks for each by its name without prefix.
    pub fn new(number: impl Fn(&str) -> Option<u32>) -> Self {
        Self {
            too_big: number("PKT_TOO_BIG"),
            unspecified: number("NOT_SPECIFIED"),
            no_connection: ["NO_SOCKET", "TCP_FLAGS"].into_iter().filter_map(&number).collect(),
            netfilter: number("NETFILTER_DROP"),
            reassembly: ["FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR"].into_iter().filter_map(&number).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lacks_is_left_out() {
        let known = [("NOT_SPECIFIED", 2), ("NO_SOCKET", 3), ("NETFILTER_DROP", 8), ("FRAG_TOO_FAR", 70)];
        let reasons =
            DropReasons::new(|name| known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number));
        let expected = DropReasons {
            too_big: None,
            unspecified: Some(2),
            no_connection: vec![3],
            netfilter: Some(8),
            reassembly: vec![70],
        };
        assert_eq!(reasons, expected);
    }
}
