//! The header and the first question of a DNS message, from its bytes.
//!
//! By hand, because nothing else of the message is wanted and a general library spends most of its time on the rest.

use thiserror::Error;

use super::raw::{DnsMessage, DnsQuestion};

/// Why bytes are no DNS message that can be told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DnsError {
    /// Not even the header is there.
    #[error("{0} bytes are too few for a DNS header")]
    Header(usize),
    /// The bytes end before the question does: the capture was cut, or the sender lied.
    #[error("the bytes end within the question")]
    Cut,
    /// A compression pointer in the first question, where there is nothing yet to point to (RFC 1035 section 4.1.4).
    #[error("compression pointer in the question")]
    Pointer,
    /// A label type other than an ordinary label (RFC 6891 section 5 withdrew the others).
    #[error("unknown label type {0:#04x}")]
    LabelType(u8),
    /// A name of more than 255 bytes (RFC 1035 section 2.3.4).
    #[error("name longer than 255 bytes")]
    NameLength,
}

/// Bytes of the header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Bytes of a name on the wire at most, length bytes and root included (RFC 1035 section 2.3.4).
const NAME: usize = 255;

/// Parses the header and, if it announces one, the first question. Whatever follows is not looked at.
pub fn parse(bytes: &[u8]) -> Result<DnsMessage, DnsError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(DnsError::Header(bytes.len()));
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let question = if word(4) == 0 { None } else { Some(question(rest)?) };
    Ok(DnsMessage {
        id: word(0),
        response: header[2] & 0x80 != 0,
        opcode: header[2] >> 3 & 0x0f,
        truncated: header[2] & 0x02 != 0,
        rcode: header[3] & 0x0f,
        answers: word(6),
        question,
    })
}

fn question(bytes: &[u8]) -> Result<DnsQuestion, DnsError> {
    let mut name = String::with_capacity(64);
    let mut rest = bytes;
    loop {
        let (&length, after) = rest.split_first().ok_or(DnsError::Cut)?;
        match length {
            0 => {
                rest = after;
                break;
            }
            1..=63 => {}
            0xc0.. => return Err(DnsError::Pointer),
            other => return Err(DnsError::LabelType(other)),
        }
        let (label, after) = after.split_at_checked(usize::from(length)).ok_or(DnsError::Cut)?;
        // What is consumed so far and the root's byte.
        if bytes.len() - after.len() + 1 > NAME {
            return Err(DnsError::NameLength);
        }
        push_label(&mut name, label);
        name.push('.');
        rest = after;
    }
    if name.is_empty() {
        name.push('.');
    }
    let fixed = rest.first_chunk::<4>().ok_or(DnsError::Cut)?;
    Ok(DnsQuestion {
        name,
        qtype: u16::from_be_bytes([fixed[0], fixed[1]]),
        qclass: u16::from_be_bytes([fixed[2], fixed[3]]),
    })
}

/// Appends a label in presentation format (RFC 1035 section 5.1), lower case: `\X` for what means something in a zone
/// file, `\DDD` for what does not print.
fn push_label(name: &mut String, label: &[u8]) {
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                name.push('\\');
                name.push(char::from(byte));
            }
            0x21..=0x7e => name.push(char::from(byte.to_ascii_lowercase())),
            _ => {
                name.push('\\');
                for digit in [byte / 100, byte / 10 % 10, byte % 10] {
                    name.push(char::from(b'0' + digit));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// A question for the labels, with id 0x1234, RD, type A, class IN.
    fn message(labels: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label);
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        bytes
    }

    fn name(labels: &[&[u8]]) -> Result<String, DnsError> {
        parse(&message(labels)).map(|m| m.question.unwrap().name)
    }

    #[test]
    fn a_question() {
        let parsed = parse(&message(&[b"Web", b"shop"])).unwrap();
        assert_eq!(
            parsed,
            DnsMessage {
                id: 0x1234,
                response: false,
                truncated: false,
                opcode: 0,
                rcode: 0,
                answers: 0,
                question: Some(DnsQuestion { name: "web.shop.".into(), qtype: 1, qclass: 1 }),
            }
        );
    }

    #[test]
    fn header_bits() {
        let parsed = parse(&[0, 7, 0x80 | 5 << 3 | 2, 0xf3, 0, 0, 1, 2, 0, 0, 0, 0]).unwrap();
        assert!(parsed.response && parsed.truncated);
        assert_eq!((parsed.id, parsed.opcode, parsed.rcode, parsed.answers), (7, 5, 3, 258));
        assert_eq!(parsed.question, None);
    }

    #[test]
    fn names_in_presentation_format() {
        assert_eq!(name(&[]).unwrap(), ".");
        assert_eq!(name(&[b"a.b", b"C\\"]).unwrap(), "a\\.b.c\\\\.");
        assert_eq!(name(&[b" \x00\xff\x7f"]).unwrap(), "\\032\\000\\255\\127.");
        assert_eq!(name(&[b"_srv-1", b"*"]).unwrap(), "_srv-1.*.");
    }

    #[test]
    fn length_limits() {
        let longest: &[u8] = &[b'a'; 63];
        // 3 * 64 + 62 + 1 = 255
        assert_eq!(name(&[longest, longest, longest, &[b'a'; 61]]).unwrap().len(), 254);
        assert_eq!(name(&[longest, longest, longest, &[b'a'; 62]]), Err(DnsError::NameLength));
    }

    #[test]
    fn what_is_no_question() {
        assert_eq!(parse(&[0; 11]), Err(DnsError::Header(11)));
        let with = |question: &[u8]| parse(&[&message(&[])[..12], question].concat());
        assert_eq!(with(&[0xc0, 12, 0, 1, 0, 1]), Err(DnsError::Pointer));
        assert_eq!(with(&[0x41, 0, 0, 1, 0, 1]), Err(DnsError::LabelType(0x41)));
        assert_eq!(with(&[0x80, 0, 0, 1, 0, 1]), Err(DnsError::LabelType(0x80)));
        assert_eq!(with(&[]), Err(DnsError::Cut));
    }

    #[test]
    fn every_cut_of_a_question_is_told() {
        let whole = message(&[b"web", b"shop"]);
        for length in 12..whole.len() {
            assert_eq!(parse(&whole[..length]), Err(DnsError::Cut), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_parses_is_printable_and_bounded(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..6)) {
            let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
            let wire: usize = labels.iter().map(|l| l.len() + 1).sum::<usize>() + 1;
            match name(&labels) {
                Ok(name) => {
                    prop_assert!(wire <= NAME);
                    prop_assert!(name.ends_with('.') && name.len() <= NAME * 4);
                    prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
                }
                Err(error) => {
                    prop_assert_eq!(error, DnsError::NameLength);
                    prop_assert!(wire > NAME);
                }
            }
        }
    }
}
