//! Distinguished names as Envoy's properties have them: BoringSSL's `X509_NAME_print_ex` with `XN_FLAG_RFC2253`.

use data_encoding::HEXUPPER;
use otlp_gate_core::identity::SUBJECT_KEYS;
use x509_parser::der_parser::asn1_rs::{Any, Oid, ToDer};
use x509_parser::x509::X509Name;

/// The name in RFC 2253's order, last attribute first. `None` if a string is not valid for its type: Envoy then prints
/// nothing.
pub(crate) fn rfc2253(name: &X509Name<'_>) -> Option<String> {
    let mut text = String::new();
    let rdns: Vec<_> = name.iter_rdn().collect();
    for rdn in rdns.iter().rev() {
        let attributes: Vec<_> = rdn.iter().collect();
        for (index, attribute) in attributes.iter().rev().enumerate() {
            if !text.is_empty() {
                text.push(if index == 0 { ',' } else { '+' });
            }
            let oid = dotted(attribute.attr_type());
            match SUBJECT_KEYS.iter().find(|(known, _)| *known == oid) {
                Some((_, short)) => {
                    text.push_str(short);
                    text.push('=');
                    push_value(&mut text, attribute.attr_value())?;
                }
                None => {
                    text.push_str(&oid);
                    text.push('=');
                    push_der(&mut text, attribute.attr_value())?;
                }
            }
        }
    }
    Some(text)
}

/// The attributes of a name, in its order: keys as in the configuration, and values. An attribute whose value is not
/// text is left out.
pub(crate) fn attributes(name: &X509Name<'_>) -> Vec<(String, String)> {
    let pairs = name.iter_attributes().map(|attribute| {
        let oid = dotted(attribute.attr_type());
        let key = SUBJECT_KEYS.iter().find(|(known, _)| *known == oid).map_or(&*oid, |(_, short)| short);
        Some((key.to_owned(), decode(attribute.attr_value())??))
    });
    pairs.flatten().collect()
}

/// The OID of a subject key of the configuration: a short name in any case, or a dotted OID.
pub(crate) fn attribute_oid(key: &str) -> Option<Vec<u64>> {
    let oid =
        SUBJECT_KEYS.iter().find(|(_, short)| short.eq_ignore_ascii_case(key)).map_or(key, |(oid, _)| oid);
    let arcs = oid.split('.').map(|arc| arc.parse().ok()).collect::<Option<Vec<u64>>>()?;
    (arcs.len() > 1).then_some(arcs)
}

/// An OID in dotted form (X.690 section 8.19.4). asn1-rs 0.7 formats the first two arcs wrongly from 2.48 on.
fn dotted(oid: &Oid<'_>) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in oid.as_bytes() {
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// Appends the value with RFC 2253's escapes, or as `#` and hex if its type is not a string.
fn push_value(text: &mut String, value: &Any<'_>) -> Option<()> {
    let Some(value) = decode(value)? else { return push_der(text, value) };
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        push_escaped(text, character, index == 0, index == last);
    }
    Some(())
}

/// The text of a value. `Some(None)`: its type is not one that BoringSSL prints as text.
fn decode(value: &Any<'_>) -> Option<Option<String>> {
    const UTF8: u32 = 12;
    // NumericString, PrintableString, T61String, IA5String, UTCTime, GeneralizedTime and VisibleString, all read
    // as Latin-1
    const LATIN1: [u32; 7] = [18, 19, 20, 22, 23, 24, 26];
    const UNIVERSAL: u32 = 28;
    const BMP: u32 = 30;
    let bytes = value.data;
    Some(Some(match value.tag().0 {
        UTF8 => String::from_utf8(bytes.to_vec()).ok()?,
        tag if LATIN1.contains(&tag) => bytes.iter().copied().map(char::from).collect(),
        UNIVERSAL => wide::<4>(bytes)?,
        BMP => wide::<2>(bytes)?,
        _ => return Some(None),
    }))
}

/// Text whose characters have N bytes each, most significant first.
fn wide<const N: usize>(bytes: &[u8]) -> Option<String> {
    let (characters, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return None;
    }
    characters
        .iter()
        .map(|c| char::from_u32(c.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))))
        .collect()
}

fn push_escaped(text: &mut String, character: char, first: bool, last: bool) {
    let special = match character {
        '\\' | '"' | ',' | '+' | '<' | '>' | ';' => true,
        '#' => first,
        ' ' => first || last,
        _ => false,
    };
    if special {
        text.push('\\');
        text.push(character);
    } else if character.is_ascii() && !character.is_ascii_control() {
        text.push(character);
    } else {
        // ASN1_STRFLGS_ESC_CTRL and ESC_MSB: each byte of the character's UTF-8
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            text.push('\\');
            text.push_str(&HEXUPPER.encode(&[byte]));
        }
    }
}

/// ASN1_STRFLGS_DUMP_DER
fn push_der(text: &mut String, value: &Any<'_>) -> Option<()> {
    text.push('#');
    text.push_str(&HEXUPPER.encode(&value.to_der_vec().ok()?));
    Some(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use rcgen::string::{BmpString, PrintableString, TeletexString, UniversalString};
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use x509_parser::parse_x509_certificate;

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
        rfc2253(parse_x509_certificate(der).unwrap().1.subject())
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
