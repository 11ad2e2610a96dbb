//! Event ids: which node, which boot, which start of the daemon, which event.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest node name: a DNS subdomain name (RFC 1123 section 2.1).
const NODE_MAX: usize = 253;

/// Everything of an id but the sequence number: the same for all events of one start of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Node name.
    pub node: Arc<str>,
    /// First 32 bits of `/proc/sys/kernel/random/boot_id`.
    pub boot: u32,
    /// When the daemon was started: milliseconds since 1970, which differs between two starts on one node.
    pub epoch: u64,
}

/// Id of an event, in text `NODE.BOOT.EPOCH.SEQ`: the node may contain dots, boot is eight and epoch any number of
/// lower-case hexadecimal digits, the sequence is decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Which start of which daemon.
    pub origin: Origin,
    /// From 1, ascending without gaps over the events of all kinds. 0: the position before the first event.
    pub seq: u64,
}

/// Why a text is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEventId {
    /// Fewer than four parts.
    #[error("an event id has four parts, NODE.BOOT.EPOCH.SEQ")]
    Parts,
    /// No usable node name.
    #[error("the node of an event id is 1 to 253 letters, digits, '-', '_', ':' or '.'")]
    Node,
    /// The boot part.
    #[error("the boot part of an event id is eight lower-case hexadecimal digits")]
    Boot,
    /// The epoch part.
    #[error("the epoch part of an event id is 1 to 16 lower-case hexadecimal digits")]
    Epoch,
    /// The sequence part.
    #[error("the sequence part of an event id is a decimal number")]
    Sequence,
}

impl Origin {
    /// Origin of a daemon that starts now on `node`. Fails where the node name does not fit into an id or the kernel
    /// does not tell its boot id.
    pub fn of_this_start(node: &str) -> io::Result<Self> {
        if !is_node(node) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("node name {node:?}: {}", BadEventId::Node),
            ));
        }
        let path = "/proc/sys/kernel/random/boot_id";
        let boot_id = std::fs::read_to_string(path)?;
        let boot = boot_id
            .get(..8)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| io::Error::other(format!("{path} holds {boot_id:?}, which is no boot id")))?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        Ok(Self { node: node.into(), boot, epoch: since_1970.as_millis() as u64 })
    }

    /// Id of an event of this start.
    pub fn id(&self, seq: u64) -> EventId {
        EventId { origin: self.clone(), seq }
    }

    /// The text that all ids of this start begin with.
    pub fn prefix(&self) -> String {
        format!("{}.{:08x}.{:x}.", self.node, self.boot, self.epoch)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}.{:x}.{}", self.origin.node, self.origin.boot, self.origin.epoch, self.seq)
    }
}

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        // From the right, because only the node may contain dots.
        let mut parts = text.rsplitn(4, '.');
        let mut next = || parts.next().ok_or(BadEventId::Parts);
        let (seq, epoch, boot, node) = (next()?, next()?, next()?, next()?);
        if !is_node(node) {
            return Err(BadEventId::Node);
        }
        if boot.len() != 8 || !is_hexadecimal(boot) {
            return Err(BadEventId::Boot);
        }
        if !is_hexadecimal(epoch) {
            return Err(BadEventId::Epoch);
        }
        // `u64::from_str` would take a leading '+', and one id is to have one text.
        if !seq.bytes().all(|byte| byte.is_ascii_digit()) || (seq.len() > 1 && seq.starts_with('0')) {
            return Err(BadEventId::Sequence);
        }
        Ok(Self {
            origin: Origin {
                node: node.into(),
                boot: u32::from_str_radix(boot, 16).map_err(|_| BadEventId::Boot)?,
                epoch: u64::from_str_radix(epoch, 16).map_err(|_| BadEventId::Epoch)?,
            },
            seq: seq.parse().map_err(|_| BadEventId::Sequence)?,
        })
    }
}

fn is_node(node: &str) -> bool {
    (1..=NODE_MAX).contains(&node.len())
        && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.'))
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_node_may_contain_dots() {
        let id: EventId = "ip-10-0-0-1.eu.internal.00c0ffee.19a3.42".parse().unwrap();
        assert_eq!(&*id.origin.node, "ip-10-0-0-1.eu.internal");
        assert_eq!((id.origin.boot, id.origin.epoch, id.seq), (0x00c0_ffee, 0x19a3, 42));
        assert_eq!(id.to_string(), "ip-10-0-0-1.eu.internal.00c0ffee.19a3.42");
    }

    #[test]
    fn errors_name_the_part() {
        for (text, error) in [
            ("", BadEventId::Parts),
            ("a.b.c", BadEventId::Parts),
            (".00000000.1.1", BadEventId::Node),
            ("a b.00000000.1.1", BadEventId::Node),
            ("a.0.1.1", BadEventId::Boot),
            ("a.00000000..1", BadEventId::Epoch),
            ("a.00000000.fffffffffffffffff.1", BadEventId::Epoch),
            ("a.00000000.1.+1", BadEventId::Sequence),
            ("a.00000000.1.", BadEventId::Sequence),
            ("a.00000000.1.01", BadEventId::Sequence),
            ("a.00000000.1.99999999999999999999", BadEventId::Sequence),
        ] {
            assert_eq!(text.parse::<EventId>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn two_starts_differ() {
        let first = Origin::of_this_start("node").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let second = Origin::of_this_start("node").unwrap();
        assert_eq!(first.boot, second.boot);
        assert_ne!(first.epoch, second.epoch);
        assert!(Origin::of_this_start("no spaces").is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_says_why(text in "\\PC*") {
            if let Ok(id) = text.parse::<EventId>() {
                // Leading zeros of the epoch are the one freedom of the text.
                let again: EventId = id.to_string().parse().unwrap();
                prop_assert_eq!(again, id);
            }
        }

        #[test]
        fn ids_survive_their_text(node in "[a-z0-9][a-z0-9.-]{0,40}", boot: u32, epoch: u64, seq: u64) {
            let id = Origin { node: node.as_str().into(), boot, epoch }.id(seq);
            prop_assert_eq!(id.to_string().parse::<EventId>().unwrap(), id.clone());
            prop_assert_eq!(format!("{}{seq}", id.origin.prefix()), id.to_string());
        }
    }
}
