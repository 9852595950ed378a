//! Certificates of many CAs and tools, read as Python's cryptography and OpenSSL read them, or rejected.
//! testdata/corpus.py makes them.

use core::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Identity, MAX_FIELD_BYTES, SUBJECT_KEYS, Subject, X509};

const CORPUS: &str = include_str!("testdata/corpus.jsonl");

/// Rejected here only, with the reason.
const REJECTED: [(&str, &str); 14] = [
    ("257 names", "too many"),
    ("65 extensions", "too many"),
    ("serial of 33 bytes", "too long"),
    ("version 1 with extensions", "RFC 5280, section 4.1.2.1"),
    ("version 1 with unique identifiers", "RFC 5280, section 4.1.2.1"),
    ("constructed UTF8String", "X.690, section 10.2"),
    ("an RDN without attributes", "X.501, section 9.3"),
    ("another algorithm inside", "RFC 5280, section 4.1.1.2"),
    ("a signature with unused bits", "no algorithm has them"),
    ("vectors/custom/mismatch_inner_outer_sig_algorithm.der", "RFC 5280, section 4.1.1.2"),
    ("vectors/custom/rsa_pss_cert_invalid_mgf.der", "RFC 5280, section 4.1.1.2"),
    ("vectors/custom/rsa_pss_cert_no_sig_params.der", "RFC 5280, section 4.1.1.2"),
    ("vectors/custom/rsa_pss_cert_unsupported_mgf_hash.der", "RFC 5280, section 4.1.1.2"),
    ("vectors/v1_cert.pem", "RFC 5280, section 4.1.1.2"),
];

/// Read here and rejected by cryptography, with what is different.
const READ: [(&str, &str); 29] = [
    ("version 2 with unique identifiers", "a version that RFC 5280 has"),
    ("PrintableString with UTF-8", "a value that is absent"),
    ("PrintableString with Latin-1", "a value that is absent"),
    ("PrintableString with an asterisk", "OpenSSL reads it"),
    ("BMPString of an odd length", "a subject that is absent"),
    ("UniversalString beyond Unicode", "a subject that is absent"),
    ("UniversalString of an odd length", "a subject that is absent"),
    ("BIT STRING as a name", "a value that is absent"),
    ("critical FALSE that is written", "OpenSSL reads it"),
    ("cA FALSE that is written", "OpenSSL reads it"),
    ("the year 0", "Python's years begin at 1"),
    ("vectors/badssl-sct-anonymous-sig.der", SKIPPED),
    ("vectors/badssl-sct-none-hash.der", SKIPPED),
    ("vectors/custom/cp_invalid.pem", SKIPPED),
    ("vectors/custom/cp_invalid2.der", SKIPPED),
    ("vectors/custom/dsa_null_alg_params.pem", SKIPPED),
    ("vectors/custom/ecdsa_null_alg.pem", SKIPPED),
    ("vectors/custom/inhibit_any_policy_negative.pem", SKIPPED),
    ("vectors/custom/invalid-sct-length.der", SKIPPED),
    ("vectors/custom/invalid-sct-version.der", SKIPPED),
    ("vectors/custom/malformed-ian.pem", SKIPPED),
    ("vectors/custom/malformed-san.pem", SKIPPED),
    ("vectors/custom/nc_invalid_ip4_netmask.der", SKIPPED),
    ("vectors/custom/nc_invalid_ip_netmask.pem", SKIPPED),
    ("vectors/custom/nc_ip_invalid_length.pem", SKIPPED),
    ("vectors/ed25519/ed25519-rfc8410.pem", "OpenSSL reads it"),
    ("vectors/san_edipartyname.der", SKIPPED),
    ("vectors/san_x400address.der", SKIPPED),
    ("vectors/wosign-bc-invalid.pem", "a path length that is skipped, as it is no CA"),
];
const SKIPPED: &str = "a part that is skipped";

/// OpenSSL has short names of attributes that BoringSSL writes as OIDs.
const NEWER_NAMES: [&str; 2] = ["vectors/custom/bad_country.pem", "vectors/e-trust.ru.der"];

/// Subjects whose attributes are read in another way, or are absent.
const OTHER_ATTRIBUTES: [(&str, &str); 3] = [
    ("T61String with UTF-8", "Latin-1, as OpenSSL reads it"),
    ("BMPString with surrogates", "absent, as with OpenSSL"),
    ("a subject of 9,000 bytes", "absent, as it is too long"),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is read, in the form of the corpus.
fn read(der: &[u8]) -> Option<Value> {
    let identity = Identity::from_der(der)?;
    let certificate = identity.certificate.as_ref().unwrap();
    let x509 = X509::read(der).unwrap();
    let ips: Vec<String> = identity
        .ips
        .iter()
        .map(|ip| match ip {
            IpAddr::V4(ip) => hex(&ip.octets()),
            IpAddr::V6(ip) => hex(&ip.octets()),
        })
        .collect();
    Some(json!({
        "uris": identity.uris,
        "dns": identity.dns,
        "emails": identity.emails,
        "ips": ips,
        "serial": hex(&certificate.serial),
        "notBefore": certificate.validity.not_before,
        "notAfter": certificate.validity.not_after,
        "usages": certificate.extended_key_usage,
        "keyId": certificate.authority_key_id.as_ref().map(|id| hex(id)),
        "ca": x509.is_ca(),
        "pathLength": x509.path_length(),
        "signed": hex(&certificate.signed),
    }))
}

/// The attributes of a subject in the order of the certificate, with dotted OIDs.
fn attributes(subject: Option<&Subject>) -> Value {
    let oid = |key: &str| {
        let known = SUBJECT_KEYS.iter().find(|(_, short)| *short == key);
        known.map_or(key, |(oid, _)| oid).to_owned()
    };
    let pairs = subject.into_iter().flat_map(|subject| subject.attributes().rev());
    pairs.map(|(key, value)| json!([oid(key), value])).collect()
}

proptest! {
    #[test]
    fn no_change_of_a_certificate_panics(
        of in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let records: Vec<&str> = CORPUS.lines().collect();
        let record: Value = serde_json::from_str(records[of.index(records.len())]).unwrap();
        let mut der = STANDARD.decode(record["der"].as_str().unwrap()).unwrap();
        let at = at.index(der.len() + 1);
        let end = (at + bytes.len()).min(der.len());
        der.splice(at..end, bytes);
        if let Some(identity) = Identity::from_der(&der) {
            prop_assert!(identity.uris.iter().chain(&identity.dns).all(|name| name.is_ascii()));
        }
    }
}

#[test]
fn certificates_are_read_as_by_others_or_rejected() {
    let mut wrong = Vec::new();
    // A larger corpus, of `corpus.py --all`. Certificates that are not in the lists above are reported.
    let larger = std::env::var_os("OTLP_GATE_CORPUS").map(|path| std::fs::read_to_string(path).unwrap());
    for line in larger.as_deref().unwrap_or(CORPUS).lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let name = record["name"].as_str().unwrap();
        let der = STANDARD.decode(record["der"].as_str().unwrap()).unwrap();
        let (own, error) = (read(&der), record["error"].as_str());
        let has = |list: &[(&str, &str)]| list.iter().any(|(own, _)| *own == name);
        let expected = match error {
            Some(_) => has(&READ),
            None => !has(&REJECTED),
        };
        if own.is_some() != expected {
            wrong.push(format!("{name}: read: {}, {error:?}", own.is_some()));
        }
        let Some(own) = own else { continue };
        if error.is_none() {
            for (key, value) in own.as_object().unwrap() {
                if record[key] != *value {
                    wrong.push(format!("{name}: {key}: {value}, not {}", record[key]));
                }
            }
        }
        let identity = Identity::from_der(&der).unwrap();
        let issuer = identity.certificate.unwrap().issuer;
        for (key, subject) in [("subject", &identity.subject), ("issuer", &issuer)] {
            // OpenSSL does not read names with some types of strings at all.
            let Some(text) = record["openssl"][key].as_str() else { continue };
            let expected = Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_FIELD_BYTES);
            let is_newer = NEWER_NAMES.contains(&name);
            if !is_newer && subject.as_ref().map(Subject::text) != expected {
                wrong.push(format!(
                    "{name}: {key}: {:?}, not {expected:?}",
                    subject.as_ref().map(Subject::text)
                ));
            }
        }
        let own = attributes(identity.subject.as_ref());
        if record["attributes"].is_array() && !has(&OTHER_ATTRIBUTES) && record["attributes"] != own {
            wrong.push(format!("{name}: attributes: {own}, not {}", record["attributes"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
