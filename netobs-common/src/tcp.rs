//! TCP's flags, and the classes of segments that drops are told apart by when they are only counted.

/// Flags (RFC 9293 section 3.1).
pub mod flag {
    /// Closes one direction of a connection.
    pub const FIN: u8 = 0x01;
    /// Opens it.
    pub const SYN: u8 = 0x02;
    /// Ends it.
    pub const RST: u8 = 0x04;
    /// The acknowledgment number is valid.
    pub const ACK: u8 = 0x10;
}

/// Classes of segments. A burst is counted by class, not by flags: PSH and the like would only make more sums of it.
pub mod segment {
    use super::flag;

    /// Data; or no TCP segment, or its header could not be read.
    pub const OTHER: u8 = 0;
    /// Asks for a connection, or answers that.
    pub const SYN: u8 = 1;
    /// Ends one.
    pub const RST: u8 = 2;
    /// Closes one direction of it.
    pub const FIN: u8 = 3;
    /// Only acknowledges.
    pub const ACK: u8 = 4;

    /// The class of a segment, by its flags byte.
    #[inline]
    #[must_use]
    pub const fn of(flags: u8) -> u8 {
        if flags & flag::SYN != 0 {
            SYN
        } else if flags & flag::RST != 0 {
            RST
        } else if flags & flag::FIN != 0 {
            FIN
        } else if flags == flag::ACK {
            ACK
        } else {
            OTHER
        }
    }
}
