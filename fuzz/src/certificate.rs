//! Target: any bytes as a certificate. What is read of it is what another parser reads, and the text of its names can
//! be read back.

use std::net::IpAddr;

use otlp_gate_core::identity::{Identity, MAX_FIELD_BYTES, Subject};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Runs one input.
pub fn target(der: &[u8]) {
    let Some(identity) = Identity::from_der(der) else { return };
    let Some(certificate) = &identity.certificate else { panic!("an identity without its certificate") };
    assert_eq!(Identity::from_der(&[der, &[0]].concat()), None, "a byte follows");
    for name in [&identity.uris, &identity.dns, &identity.emails].into_iter().flatten() {
        assert!(is_text(name), "{name:?}");
    }
    for subject in [&identity.subject, &certificate.issuer].into_iter().flatten() {
        read_back(subject);
    }
    // The other parser examines extensions that are skipped here, and knows fewer types of strings.
    if let Ok((_, other)) = X509Certificate::from_der(der) {
        compare(&identity, &other);
    }
}

fn is_text(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_FIELD_BYTES && !name.contains(char::is_control) && name.is_ascii()
}

/// Trusted hops forward a subject as text, so the text has the same keys and values. Values that are ambiguous in DER
/// are absent only there.
fn read_back(subject: &Subject) {
    let Some(read) = Subject::parse(subject.text()) else { panic!("{}", subject.text()) };
    assert_eq!(read.text(), subject.text());
    assert_eq!(read.attributes().count(), subject.attributes().count());
    for ((key, value), (own_key, own)) in read.attributes().zip(subject.attributes()) {
        assert_eq!(key, own_key);
        assert!(own.is_none() || own == value, "{key}: {own:?}, {value:?}");
    }
}

fn compare(identity: &Identity, other: &X509Certificate<'_>) {
    let Some(certificate) = &identity.certificate else { return };
    let serial = other.raw_serial();
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    assert_eq!(certificate.serial, serial[zeros..]);
    let validity = other.validity();
    assert_eq!(certificate.validity.not_before, validity.not_before.timestamp());
    assert_eq!(certificate.validity.not_after, validity.not_after.timestamp());
    for extension in other.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                let (mut uris, mut dns, mut emails, mut ips) = (vec![], vec![], vec![], Vec::<IpAddr>::new());
                for name in &names.general_names {
                    match name {
                        GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                        GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
                        GeneralName::RFC822Name(email) => emails.push(email.to_ascii_lowercase()),
                        GeneralName::IPAddress(bytes) => {
                            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                            ips.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)));
                        }
                        _ => {}
                    }
                }
                for names in [&mut uris, &mut dns, &mut emails] {
                    names.retain(|name| is_text(name));
                }
                let own_emails: Vec<_> = identity.emails.iter().map(|it| it.to_ascii_lowercase()).collect();
                assert_eq!(
                    (&identity.uris, &identity.dns, own_emails, &identity.ips),
                    (&uris, &dns, emails, &ips)
                );
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let client_auth = certificate.extended_key_usage.iter().any(|it| it == "1.3.6.1.5.5.7.3.2");
                assert_eq!(client_auth, usage.client_auth);
            }
            ParsedExtension::AuthorityKeyIdentifier(key) => {
                let id = key.key_identifier.as_ref().map(|id| id.0.to_vec());
                assert_eq!(certificate.authority_key_id, id);
            }
            _ => {}
        }
    }
}
