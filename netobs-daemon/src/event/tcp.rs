//! TCP's flags and states, by number and by name.

pub use netobs_common::tcp::{flag, segment};

/// States (`include/net/tcp_states.h`; programs see them as `BPF_TCP_*`, so the numbers do not change).
pub mod state {
    /// Open at both ends.
    pub const ESTABLISHED: u8 = 1;
    /// A SYN was sent.
    pub const SYN_SENT: u8 = 2;
    /// A SYN was answered.
    pub const SYN_RECV: u8 = 3;
    /// Waits for more, in case segments are still on their way.
    pub const TIME_WAIT: u8 = 6;
    /// None.
    pub const CLOSE: u8 = 7;
    /// Waits for connections.
    pub const LISTEN: u8 = 10;
    /// A SYN was answered, and there is no whole socket yet.
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Linux's name of a state, without its prefix.
pub fn state_name(number: u8) -> Option<&'static str> {
    const NAMES: [&str; 13] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
        "NEW_SYN_RECV",
        "BOUND_INACTIVE",
    ];
    NAMES.get(usize::from(number.checked_sub(1)?)).copied()
}

/// Names of the flags that are set.
pub fn flag_names(flags: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (flag::SYN, "SYN"),
        (flag::RST, "RST"),
        (flag::ACK, "ACK"),
        (flag::FIN, "FIN"),
        (0x08, "PSH"),
        (0x20, "URG"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let set: Vec<&str> = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let names = [1, 2, 7, 10, 12, 13].map(state_name);
        let expected = ["ESTABLISHED", "SYN_SENT", "CLOSE", "LISTEN", "NEW_SYN_RECV", "BOUND_INACTIVE"].map(Some);
        assert_eq!((names, state_name(0), state_name(14), state_name(255)), (expected, None, None, None));
        assert_eq!([0, 0x02, 0x04, 0x14, 0x18].map(flag_names), ["", "SYN", "RST", "RST,ACK", "ACK,PSH"]);
    }
}
