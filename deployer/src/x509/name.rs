//! Distinguished names, as the filter reads them.

use otlp_gate_core::identity::{SUBJECT_KEYS, Subject};

/// A name without attributes, in DER.
const EMPTY: [u8; 2] = [0x30, 0];

/// A name, in DER, as Envoy prints it (RFC 2253), last attribute first. `None` if Envoy prints nothing for it.
pub(crate) fn rfc2253(name: &[u8]) -> Option<String> {
    match name == EMPTY {
        false => Subject::from_der(name).map(|name| name.text().to_owned()),
        true => Some(String::new()),
    }
}

/// The attributes of a name, in its order: keys as in the configuration, and values. An attribute whose value is not
/// text is left out.
pub(crate) fn attributes(name: &Subject) -> Vec<(String, String)> {
    let pairs = name.attributes().rev();
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect()
}

/// The OID of a subject key of the configuration: a short name in any case, or a dotted OID.
pub(crate) fn attribute_oid(key: &str) -> Option<Vec<u64>> {
    let oid =
        SUBJECT_KEYS.iter().find(|(_, short)| short.eq_ignore_ascii_case(key)).map_or(key, |(oid, _)| oid);
    let arcs = oid.split('.').map(|arc| arc.parse().ok()).collect::<Option<Vec<u64>>>()?;
    (arcs.len() > 1).then_some(arcs)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use otlp_gate_core::identity::X509;
    use proptest::prelude::*;
    use rcgen::string::{BmpString, PrintableString, TeletexString, UniversalString};
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    /// The DER of a certificate with this subject.
    fn certificate(subject: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (key, value) in subject {
            params.distinguished_name.push(key.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn ours(der: &[u8]) -> Option<String> {
        rfc2253(X509::read(der).unwrap().subject)
    }

    /// The name as OpenSSL, from which BoringSSL was forked, prints it with the same flags.
    fn openssl(der: &[u8]) -> String {
        let mut child = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), der).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_prefix("subject=").unwrap().trim_end_matches('\n').to_owned()
    }

    #[test]
    fn names_are_printed_as_openssl_prints_them() {
        let text = |text: &str| DnValue::Utf8String(text.to_owned());
        for (subject, expected) in [
            (vec![], ""),
            (
                vec![(DnType::OrganizationName, text("Acme, Inc.")), (DnType::CommonName, text("x"))],
                r"CN=x,O=Acme\, Inc.",
            ),
            (vec![(DnType::CommonName, text("Zoë"))], r"CN=Zo\C3\AB"),
            (vec![(DnType::CommonName, text(" a  b "))], r"CN=\ a  b\ "),
            (vec![(DnType::CommonName, text("#a#\"+;<>\\"))], r##"CN=\#a#\"\+\;\<\>\\"##),
            (vec![(DnType::CommonName, text("a\nb\u{7f}"))], r"CN=a\0Ab\7F"),
            (vec![(DnType::CommonName, text(""))], "CN="),
            (
                vec![(
                    DnType::CountryName,
                    DnValue::PrintableString(PrintableString::try_from("CH").unwrap()),
                )],
                "C=CH",
            ),
            (
                vec![(DnType::CommonName, DnValue::BmpString(BmpString::try_from("é€").unwrap()))],
                r"CN=\C3\A9\E2\82\AC",
            ),
            (
                vec![(
                    DnType::CommonName,
                    DnValue::UniversalString(UniversalString::try_from("a😀").unwrap()),
                )],
                r"CN=a\F0\9F\98\80",
            ),
            (
                vec![(DnType::CommonName, DnValue::TeletexString(TeletexString::try_from("t").unwrap()))],
                "CN=t",
            ),
            (vec![(DnType::CustomDnType(vec![1, 2, 3, 4]), text("x"))], "1.2.3.4=#0C0178"),
            (vec![(DnType::CustomDnType(vec![2, 999, 70000]), text("x"))], "2.999.70000=#0C0178"),
        ] {
            let der = certificate(&subject);
            assert_eq!(ours(&der).as_deref(), Some(expected));
            assert_eq!(openssl(&der), expected);
        }
    }

    #[test]
    fn every_short_name_is_that_of_openssl() {
        for (oid, short) in SUBJECT_KEYS {
            let oid = oid.split('.').map(|arc| arc.parse().unwrap()).collect();
            let der = certificate(&[(DnType::CustomDnType(oid), DnValue::Utf8String("x".to_owned()))]);
            assert_eq!(ours(&der).unwrap(), format!("{short}=x"));
            assert_eq!(openssl(&der), format!("{short}=x"));
        }
    }

    /// Observed with Envoy 1.40. OpenSSL does not escape a first character that is also the last one, and newer
    /// versions have a name for organizationIdentifier.
    #[test]
    fn boringssl_and_not_openssl_is_followed_where_they_differ() {
        for (key, value, expected) in [
            (DnType::CommonName, "#", r"CN=\#"),
            (DnType::CustomDnType(vec![2, 5, 4, 97]), "x", "2.5.4.97=#0C0178"),
        ] {
            let der = certificate(&[(key, DnValue::Utf8String(value.to_owned()))]);
            assert_eq!(ours(&der).as_deref(), Some(expected));
            assert_ne!(openssl(&der), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_name_is_printed_as_openssl_prints_it(
            organization in r"\PC{0,12}", name in r#"[ #"+,;<>\\=a\t\x00é]{0,8}"#,
        ) {
            prop_assume!(organization != "#" && name != "#");
            let der = certificate(&[
                (DnType::OrganizationName, DnValue::Utf8String(organization)),
                (DnType::CommonName, DnValue::Utf8String(name)),
            ]);
            prop_assert_eq!(ours(&der).unwrap(), openssl(&der));
        }
    }
}
