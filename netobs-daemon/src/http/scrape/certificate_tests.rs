//! Files that come, change, and are wrong.
#![allow(clippy::unwrap_used)]

use super::*;

/// Certificate and key in PEM form.
fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn leaf(certificates: &Certificates) -> Vec<u8> {
    certificates.current.load().key.cert[0].to_vec()
}

#[test]
fn files_are_followed_and_a_half_written_pair_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let write = |pair: &(String, String)| {
        std::fs::write(&certificate, &pair.0).unwrap();
        std::fs::write(&key, &pair.1).unwrap();
    };
    let source = CertificateSource::Files { certificate: certificate.clone(), key: key.clone() };
    let missing = Certificates::new(source.clone()).unwrap_err().to_string();
    assert!(missing.contains("tls.crt: No such file"), "{missing}");
    let (first, second) = (pair("first"), pair("second"));
    write(&first);
    let certificates = Certificates::new(source).unwrap();
    let before = leaf(&certificates);
    assert!(certificates.expires().is_some_and(|expires| expires > Timestamp::now()));
    certificates.refresh();
    assert_eq!(leaf(&certificates), before);

    std::fs::write(&certificate, &second.0).unwrap();
    certificates.refresh();
    assert_eq!(leaf(&certificates), before);
    let problem = certificates.problem().unwrap();
    assert!(problem.contains("tls.key") && problem.contains("not usable with"), "{problem}");

    std::fs::write(&key, &second.1).unwrap();
    certificates.refresh();
    assert_ne!(leaf(&certificates), before);
    assert_eq!(certificates.problem(), None);

    let after = leaf(&certificates);
    for wrong in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&certificate, wrong).unwrap();
        certificates.refresh();
        assert!(certificates.problem().is_some() && leaf(&certificates) == after, "{wrong:?}");
    }
    std::fs::remove_file(&certificate).unwrap();
    certificates.refresh();
    assert!(certificates.problem().unwrap().contains("No such file"));
    write(&second);
    certificates.refresh();
    assert_eq!((certificates.problem(), leaf(&certificates)), (None, after));
}

#[test]
fn one_of_its_own_holds_a_year() {
    let certificates = Certificates::new(CertificateSource::SelfSigned { node: "node-a".into() }).unwrap();
    let days = (certificates.expires().unwrap().duration_since(Timestamp::now())).as_hours() / 24;
    assert!((363..=365).contains(&days), "{days}");
    let first = leaf(&certificates);
    certificates.refresh();
    assert_eq!(leaf(&certificates), first);
    // Near its end it is replaced.
    let key = Arc::clone(&certificates.current.load().key);
    certificates.current.store(Arc::new(Current { key, expires: Some(Timestamp::now() + 24.hours()) }));
    certificates.refresh();
    assert_ne!(leaf(&certificates), first);
}
