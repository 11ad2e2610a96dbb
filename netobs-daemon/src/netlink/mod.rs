//! Netlink itself (netlink(7)): framing and sockets, for whoever has messages of a family to send. Knows no family.

pub(crate) mod socket;
pub(crate) mod wire;
