//! Until when a certificate holds: `notAfter` of an X.509 certificate in DER (RFC 5280 section 4.1). Nothing else of it is
//! read; rustls checks what matters for TLS.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
/// `version [0] EXPLICIT`.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter`; `None` for what is no certificate.
pub(super) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (SEQUENCE, certificate, _) = element(der)? else { return None };
    let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (_, _, after_not_before) = element(validity)?;
    let (kind, text, _) = element(after_not_before)?;
    time(kind, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, its contents, and what follows it. Tags above 30 and indefinite lengths are not DER of a
/// certificate.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, after) = rest.split_at_checked(length)?;
    Some((tag, contents, after))
}

/// `YYMMDDHHMMSSZ` with years from 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(kind: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let digits = match kind {
        UTC_TIME if digits.len() == 12 => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    let field = |from: usize, to: usize| digits.get(from..to)?.parse::<i8>().ok();
    let year = digits.get(..4)?.parse().ok()?;
    let civil =
        DateTime::new(year, field(4, 6)?, field(6, 8)?, field(8, 10)?, field(10, 12)?, field(12, 14)?, 0).ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["node-a".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 3);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time() {
        for year in [2031, 2049, 2050, 2999] {
            let expected: Timestamp = format!("{year}-02-03T00:00:00Z").parse().unwrap();
            assert_eq!(not_after(&certificate(year)), Some(expected));
        }
        assert_eq!(time(UTC_TIME, "991231235959Z").unwrap().to_string(), "1999-12-31T23:59:59Z");
        for (kind, text) in
            [(UTC_TIME, "20310203000000Z"), (GENERALIZED_TIME, "310203000000Z"), (UTC_TIME, "311303000000Z"), (2, "")]
        {
            assert_eq!(time(kind, text), None, "{text}");
        }
    }

    #[test]
    fn whatever_is_cut_off_is_no_certificate() {
        let whole = certificate(2031);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = not_after(&bytes);
            bytes = certificate(2031);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = not_after(&bytes);
        }
    }
}
