//! Where the fields that the kernel programs read lie in the running kernel's structures. The daemon fills this from BTF
//! before it loads the programs; the verifier sees constants and prunes what an [`ABSENT`] field guards.

/// The running kernel has no such field.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $structure:literal . $member:literal),* $(,)?) => {
        /// Byte offsets within the named structures; [`ABSENT`] where the kernel lacks the field.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(zerocopy::IntoBytes, zerocopy::Immutable))]
        pub struct Offsets { $($(#[$doc])* pub $field: u32,)* }

        impl Offsets {
            /// Every field [`ABSENT`].
            pub const ABSENT: Self = Self { $($field: ABSENT,)* };

            /// Fills each field by asking `find(structure, member path)`; members of members are joined by dots.
            pub fn fill(mut find: impl FnMut(&str, &str) -> Option<u32>) -> Self {
                Self { $($field: find($structure, $member).unwrap_or(ABSENT),)* }
            }

            /// Calls `each(structure, member path, offset)` for every field.
            pub fn for_each(&self, mut each: impl FnMut(&'static str, &'static str, u32)) {
                $(each($structure, $member, self.$field);)*
            }
        }
    };
}

offsets! {
    /// Interface; in a union with scratch space that socket queues use.
    skb_dev: "sk_buff"."dev",
    /// Owning socket; in a union.
    skb_sk: "sk_buff"."sk",
    /// Bytes in the packet.
    skb_len: "sk_buff"."len",
    /// EtherType, network byte order.
    skb_protocol: "sk_buff"."protocol",
    /// Start of the buffer.
    skb_head: "sk_buff"."head",
    /// Network header, relative to `head`.
    skb_network_header: "sk_buff"."network_header",
    /// End of the linear data, relative to `head` (64-bit kernels).
    skb_tail: "sk_buff"."tail",
    /// End of the buffer, relative to `head`; `skb_shared_info` lies there.
    skb_end: "sk_buff"."end",
    /// Receiving interface.
    skb_iif: "sk_buff"."skb_iif",
    /// Route, its lowest bit a flag (`SKB_DST_NOREF`).
    skb_refdst: "sk_buff"."_skb_refdst",
    /// conntrack entry and state bits.
    skb_nfct: "sk_buff"."_nfct",
    /// Size of a segment.
    shinfo_gso_size: "skb_shared_info"."gso_size",
    /// Interface that a route leaves by.
    dst_dev: "dst_entry"."dev",
    /// Index.
    dev_ifindex: "net_device"."ifindex",
    /// MTU.
    dev_mtu: "net_device"."mtu",
    /// Name.
    dev_name: "net_device"."name",
    /// Operations of the interface's kind.
    dev_link_ops: "net_device"."rtnl_link_ops",
    /// The kind's own data; of a veth it begins with the pointer to its peer (`struct veth_priv`).
    dev_priv: "net_device"."priv",
    /// Name of a kind.
    link_ops_kind: "rtnl_link_ops"."kind",
    /// Network namespace.
    dev_net: "net_device"."nd_net.net",
    /// Inode of the namespace.
    net_inum: "net"."ns.inum",
    /// Family.
    sock_family: "sock"."__sk_common.skc_family",
    /// TCP state; request and time-wait sockets are smaller than `struct sock`.
    sock_state: "sock"."__sk_common.skc_state",
    /// Remote IPv4 address, network byte order.
    sock_daddr: "sock"."__sk_common.skc_daddr",
    /// Local IPv4 address, network byte order.
    sock_saddr: "sock"."__sk_common.skc_rcv_saddr",
    /// Remote IPv6 address.
    sock_v6_daddr: "sock"."__sk_common.skc_v6_daddr",
    /// Local IPv6 address.
    sock_v6_saddr: "sock"."__sk_common.skc_v6_rcv_saddr",
    /// Remote port, network byte order.
    sock_dport: "sock"."__sk_common.skc_dport",
    /// Local port, network byte order. `skc_num` is taken away from a socket that is closed before its reset is sent.
    inet_sport: "inet_sock"."inet_sport",
    /// IP protocol.
    sock_protocol: "sock"."sk_protocol",
    /// Network namespace.
    sock_net: "sock"."__sk_common.skc_net.net",
    /// cgroup.
    sock_cgroup: "sock"."sk_cgrp_data.cgroup",
    /// Its directory.
    cgroup_kn: "cgroup"."kn",
    /// The directory's inode.
    kn_id: "kernfs_node"."id",
    /// Original direction's tuple.
    ct_original: "nf_conn"."tuplehash[0].tuple",
    /// Reply direction's tuple.
    ct_reply: "nf_conn"."tuplehash[1].tuple",
    /// `IPS_*` bits.
    ct_status: "nf_conn"."status",
    /// Source address.
    tuple_source: "nf_conntrack_tuple"."src.u3",
    /// Source port.
    tuple_source_port: "nf_conntrack_tuple"."src.u",
    /// Family.
    tuple_family: "nf_conntrack_tuple"."src.l3num",
    /// Destination address.
    tuple_destination: "nf_conntrack_tuple"."dst.u3",
    /// Destination port.
    tuple_destination_port: "nf_conntrack_tuple"."dst.u",
    /// IP protocol.
    tuple_protocol: "nf_conntrack_tuple"."dst.protonum",
    /// Hook number, one byte.
    state_hook: "nf_hook_state"."hook",
    /// Protocol family, one byte.
    state_pf: "nf_hook_state"."pf",
    /// Input interface.
    state_in: "nf_hook_state"."in",
    /// Output interface.
    state_out: "nf_hook_state"."out",
    /// Network namespace.
    state_net: "nf_hook_state"."net",
}
