//! A certificate, read whole from its DER (RFC 5280, section 4.1).
//!
//! A proxy has validated the certificate. What this reader does not understand is an error, never a guess: lengths in
//! other than their shortest form, bytes after an element, an extension that occurs twice. Values of algorithms, of the
//! key and of extensions that no rule uses are not examined.

use super::der::{BIT_STRING, Der, INTEGER, SEQUENCE, bit_string, constructed, integer, primitive};
use super::distinguished_name::name;
use super::extensions::Extensions;
use super::time::time;
use super::{MAX_SERIAL_BYTES, Subject, Validity};

/// A certificate's parts, as slices of its DER.
#[derive(Debug)]
pub struct X509<'a> {
    /// The signed part (TBSCertificate).
    pub signed: &'a [u8],
    /// The algorithm of the signature (AlgorithmIdentifier), the same in the signed part.
    pub algorithm: &'a [u8],
    /// The signature, without the BIT STRING's count of unused bits.
    pub signature: &'a [u8],
    /// The serial number, most significant byte first, without leading zeros. A negative one, which RFC 5280 forbids,
    /// is read as the unsigned number of its bytes, as `deny` and revocation lists are.
    pub serial: &'a [u8],
    /// The issuer (Name).
    pub issuer: &'a [u8],
    /// When it is valid.
    pub validity: Validity,
    /// The subject (Name).
    pub subject: &'a [u8],
    /// The public key (SubjectPublicKeyInfo).
    pub key: &'a [u8],
    /// The subject; `None` where it is empty or absent for rules.
    pub(super) subject_name: Option<Subject>,
    pub(super) issuer_name: Option<Subject>,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> X509<'a> {
    /// Reads a certificate. `None` where the bytes are not exactly one certificate in DER.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).only(SEQUENCE)?);
        let signed = certificate.next()?;
        let algorithm = certificate.next()?;
        let (signature, unused) = bit_string(certificate.only(BIT_STRING)?)?;
        let mut fields = Der(signed.content_of(SEQUENCE)?);
        // Version 1 is the default, which DER leaves out (X.690, section 11.5).
        let version = match fields.optional(constructed(0))? {
            None => 1,
            Some(version) => match Der(version.content).only(INTEGER)? {
                [1] => 2,
                [2] => 3,
                _ => return None,
            },
        };
        let serial = integer(fields.content(INTEGER)?)?;
        let inner_algorithm = fields.next()?;
        let issuer = fields.next()?;
        let mut validity = Der(fields.content(SEQUENCE)?);
        let (not_before, not_after) = (time(&validity.next()?)?, time(&validity.next()?)?);
        let subject = fields.next()?;
        let key = fields.next()?;
        let mut key_fields = Der(key.content_of(SEQUENCE)?);
        key_fields.content(SEQUENCE)?;
        bit_string(key_fields.only(BIT_STRING)?)?;
        for number in [1, 2] {
            if let Some(unique_id) = fields.optional(primitive(number))? {
                bit_string(unique_id.content).filter(|_| version > 1)?;
            }
        }
        let extensions = match fields.optional(constructed(3))? {
            Some(all) => Extensions::read(Der(all.content).only(SEQUENCE)?).filter(|_| version > 2)?,
            None => Extensions::default(),
        };
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let serial = serial.get(zeros..)?;
        let complete = fields.is_empty() && validity.is_empty() && serial.len() <= MAX_SERIAL_BYTES;
        let one_algorithm = algorithm.tag == SEQUENCE && algorithm.whole == inner_algorithm.whole;
        (complete && one_algorithm && unused == 0).then_some(())?;
        Some(X509 {
            signed: signed.whole,
            algorithm: algorithm.whole,
            signature,
            serial,
            issuer: issuer.whole,
            validity: Validity { not_before, not_after },
            subject: subject.whole,
            key: key.whole,
            subject_name: name(&subject)?,
            issuer_name: name(&issuer)?,
            extensions,
        })
    }

    /// Whether its key may sign certificates: it is a CA (basicConstraints), and its keyUsage, if it has one, allows
    /// it.
    pub fn is_ca(&self) -> bool {
        let ca = self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca);
        ca && self.extensions.key_cert_sign != Some(false)
    }

    /// Whether its extended key usage allows the certificate of a client.
    pub fn allows_client_auth(&self) -> bool {
        self.extensions.allows_client_auth()
    }

    /// The identifier of its own key (subjectKeyIdentifier).
    pub fn subject_key_id(&self) -> Option<&'a [u8]> {
        self.extensions.subject_key_id
    }

    /// The most intermediate CAs that may be between this CA and a client; `None` for any number.
    pub fn path_length(&self) -> Option<u32> {
        self.extensions.basic_constraints.and_then(|constraints| constraints.path_length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::{Certificate, Identity, sha256, with_other_signature};

    const P256: &str = include_str!("testdata/p256.pem");
    const RSA: &str = include_str!("testdata/rsa.pem");
    // Printed by testdata/make.py.
    const EC_SERIAL: &str = "8f3a0000000000000000000000000001";
    const EC_KEY: &str = "0cef767f548cde8ac55ddb2cbc1ed401d136003bc286da3352e790ad8f2a4af2";
    const EC_SIGNED: &str = "309e46977b6248d876397bd7197519797315a434026291c997e0df778bb74615";
    const RSA_SERIAL: &str = "7b";
    const RSA_KEY: &str = "2cd33076d80d7030ff6fdd859eb73e7c683271403345da1fe7c66a9366abd168";

    fn der(pem: &str) -> Vec<u8> {
        use base64::Engine;
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read(der: &[u8]) -> Option<Certificate> {
        Identity::from_der(der).map(|identity| *identity.certificate.unwrap())
    }

    #[test]
    fn a_certificate_is_read_as_by_another_implementation() {
        let ecdsa = read(&der(P256)).unwrap();
        assert_eq!(hex(&ecdsa.serial), EC_SERIAL);
        assert_eq!(hex(&ecdsa.key), EC_KEY);
        assert_eq!(hex(&ecdsa.signed), EC_SIGNED);
        assert_eq!(ecdsa.validity, Validity { not_before: 1_795_000_000, not_after: 2_110_000_000 });
        let rsa = read(&der(RSA)).unwrap();
        assert_eq!((hex(&rsa.serial), hex(&rsa.key)), (RSA_SERIAL.to_owned(), RSA_KEY.to_owned()));
        // Its end is a GeneralizedTime: 2051-01-01T00:00:00Z.
        assert_eq!(rsa.validity.not_after, 2_556_144_000);
        assert_eq!(rsa.other_fingerprint, None);
    }

    #[test]
    fn the_other_signature_of_the_other_signature_is_the_first() {
        let first = der(P256);
        let one = read(&first).unwrap();
        let other = with_other_signature(&first);
        assert_ne!(other, first);
        let back = read(&other).unwrap();
        assert_eq!(one.other_fingerprint, Some(sha256(&other)));
        assert_eq!(back.other_fingerprint, Some(sha256(&first)));
        let without =
            |certificate| Certificate { other_fingerprint: None, signature: Vec::new(), ..certificate };
        assert_eq!(without(back), without(one));
    }

    #[test]
    fn missing_or_additional_bytes_are_errors() {
        let certificate = der(P256);
        assert_eq!(read(&[&certificate[..], &[0]].concat()), None);
        for end in 0..certificate.len() {
            assert_eq!(read(&certificate[..end]), None, "{end}");
        }
        // The length in a longer form than it needs.
        let long = [&[0x30, 0x83, 0][..], &certificate[2..]].concat();
        assert_eq!(read(&long), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Identity::from_der(&bytes);
        }

        #[test]
        fn a_changed_byte_never_keeps_the_signed_part_and_the_serial(at in 0..400usize, to in any::<u8>()) {
            let mut certificate = der(P256);
            let before = read(&certificate).unwrap();
            prop_assume!(at < certificate.len() && certificate[at] != to);
            certificate[at] = to;
            if let Some(after) = read(&certificate) {
                // The change is in the signed part, or in the signature.
                prop_assert!(after.signed != before.signed || after.other_fingerprint != before.other_fingerprint);
            }
        }
    }
}
