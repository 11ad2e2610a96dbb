//! Names of DNS types and response codes (IANA, "Domain Name System (DNS) Parameters").

use std::borrow::Cow;

/// Types that clients ask for.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (39, "DNAME"),
    (41, "OPT"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (52, "TLSA"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

/// Response codes, by number. Those above 10 need EDNS and do not fit the header.
const RCODES: &[&str] = &[
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

/// `A`, `AAAA`, …, else `TYPEn` (RFC 3597 section 5).
pub fn qtype(number: u16) -> Cow<'static, str> {
    match TYPES.binary_search_by_key(&number, |(n, _)| *n) {
        Ok(at) => Cow::Borrowed(TYPES[at].1),
        Err(_) => Cow::Owned(format!("TYPE{number}")),
    }
}

/// The number of a type, of either form, in any case.
pub fn qtype_number(name: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number);
    known.or_else(|| number_after("TYPE", name))
}

/// `NOERROR`, `NXDOMAIN`, …, else `RCODEn`.
pub fn rcode(number: u8) -> Cow<'static, str> {
    match RCODES.get(usize::from(number)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("RCODE{number}")),
    }
}

/// The number of a response code, of either form, in any case.
pub fn rcode_number(name: &str) -> Option<u8> {
    let known = RCODES.iter().position(|known| known.eq_ignore_ascii_case(name));
    known.and_then(|n| u8::try_from(n).ok()).or_else(|| number_after("RCODE", name))
}

fn number_after<N: std::str::FromStr>(prefix: &str, name: &str) -> Option<N> {
    let (head, digits) = name.split_at_checked(prefix.len())?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if head.eq_ignore_ascii_case(prefix) && plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_for_the_search() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn every_number_comes_back() {
        for number in 0..=u16::MAX {
            assert_eq!(qtype_number(&qtype(number)), Some(number));
        }
        for number in 0..=u8::MAX {
            assert_eq!(rcode_number(&rcode(number)), Some(number));
        }
    }

    #[test]
    fn names() {
        assert_eq!(qtype(28), "AAAA");
        assert_eq!(qtype(4711), "TYPE4711");
        assert_eq!(rcode(3), "NXDOMAIN");
        assert_eq!(rcode(12), "RCODE12");
        assert_eq!(qtype_number("aaaa"), Some(28));
        assert_eq!(rcode_number("nxdomain"), Some(3));
        assert_eq!(qtype_number("TYPE+1"), None);
        assert_eq!(qtype_number("TYPE65536"), None);
        assert_eq!(rcode_number("é"), None);
    }
}
