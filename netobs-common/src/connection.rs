//! Who opened a TCP connection: remembered from its SYN, for the case that it is reset.

/// A connection, as its opener addresses it. Translation changes that on the way: then the SYN was noted under each form.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey {
    /// The opener's address (first four words, IPv4 in the first) and the one it asked for (last four), as on the wire.
    pub addresses: [u32; 8],
    /// The opener's port in the first two bytes, then the one it asked for, as on the wire.
    pub ports: u32,
    /// Inode of the network namespace where an address is one that every namespace has (loopback); else 0: a connection
    /// is met in several namespaces on its way.
    pub netns: u32,
}

/// When it was opened.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The SYN, or the end of the handshake where no program saw that: `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
}

/// Connections remembered; the least recently used make room.
pub const CONNECTIONS: u32 = 16_384;

const _: () = {
    assert!(size_of::<ConnectionKey>() == 40);
    assert!(size_of::<Opening>() == 8);
};
