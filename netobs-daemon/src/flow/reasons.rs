//! The running kernel's numbers of the drop reasons that the table has to know.

/// Numbers of `enum skb_drop_reason`; `None` where the kernel lacks the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropReasons {
    /// `PKT_TOO_BIG`: forwarding (`ip_forward`, `ip6_forward`) found the packet too big for the way out.
    pub too_big: Option<u32>,
    /// `NOT_SPECIFIED`: the kernel does not say. What a bridge, a veth pair or fragmentation drops for its size has this.
    pub unspecified: Option<u32>,
    /// `NO_SOCKET`.
    pub no_socket: Option<u32>,
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
            no_socket: number("NO_SOCKET"),
            netfilter: number("NETFILTER_DROP"),
            reassembly: ["FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR"].into_iter().filter_map(number).collect(),
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
            no_socket: Some(3),
            netfilter: Some(8),
            reassembly: vec![70],
        };
        assert_eq!(reasons, expected);
    }
}
