//! Random names and ids, in the forms Kubernetes gives them.

use std::fs::File;
use std::io::Read;

/// `digits` lower-case hexadecimal digits.
pub(crate) fn hex(digits: usize) -> String {
    let mut text = digits_of(&bytes(digits.div_ceil(2)));
    text.truncate(digits);
    text
}

/// A version 4 UUID (RFC 9562 section 5.4).
pub(crate) fn uuid() -> String {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes(16));
    uuid_from(id, 4)
}

/// A UUID out of these bytes, with version and variant (RFC 9562 section 4) put in.
pub(crate) fn uuid_from(mut id: [u8; 16], version: u8) -> String {
    id[6] = id[6] & 0x0f | version << 4;
    id[8] = id[8] & 0x3f | 0x80;
    let text = digits_of(&id);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// A UUID that follows from a text (FNV-1a, twice with different starts), in the form of version 8 (RFC 9562).
pub(crate) fn uuid_of(text: &str) -> String {
    let hash =
        |start: u64| text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9ae1_6a3b_2f90_404f));
    uuid_from(((u128::from(a)) << 64 | u128::from(b)).to_be_bytes(), 8)
}

fn digits_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    // Only names depend on it, and a machine without /dev/urandom has no network namespaces either: zeros then lead to
    // "already exists" errors, not to wrong results.
    if let Ok(mut file) = File::open("/dev/urandom") {
        let _ = file.read_exact(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, uuid());
    }

    #[test]
    fn hex_has_the_length_asked_for() {
        assert_eq!(hex(11).len(), 11);
        assert_eq!(hex(64).len(), 64);
    }
}
