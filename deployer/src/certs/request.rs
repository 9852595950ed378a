//! What a new certificate is to say.

use std::fmt;
use std::net::IpAddr;

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::error::Error;
use crate::random::random;
use crate::x509;

/// Clocks differ, and what is made is used right away: certificates begin, and revocation lists say to be from, so long before
/// they are made. Envoy refuses all clients as long as a list is from the future.
pub const BACKDATED: Duration = Duration::hours(1);

/// Which side of a connection shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The gateway.
    Server,
    /// Whoever sends telemetry.
    Client,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From now on for so many days, at most as long as its CA.
    Days(u32),
    /// It ended a day ago: for seeing that it is refused.
    Over,
}

/// What a new certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who shows it.
    pub role: Role,
    /// Its subject: keys as in the config (`CN`, `O`, dotted OIDs), in the order in which they are written.
    pub subject: Vec<(String, String)>,
    /// URI SANs.
    pub uris: Vec<String>,
    /// DNS SANs.
    pub dns: Vec<String>,
    /// IP address SANs.
    pub ips: Vec<IpAddr>,
    /// When it is valid.
    pub validity: Validity,
}

impl Request {
    /// The parameters of a certificate that begins to be valid at `now`, a little backdated.
    pub(super) fn params(&self, now: OffsetDateTime) -> Result<CertificateParams, Error> {
        let mut params = blank(now, self.validity)?;
        for (key, value) in &self.subject {
            let (key, value) = attribute(key, value)?;
            params.distinguished_name.push(key, value);
        }
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(ascii(uri)?));
        }
        for dns in &self.dns {
            params.subject_alt_names.push(SanType::DnsName(ascii(dns)?));
        }
        params.subject_alt_names.extend(self.ips.iter().copied().map(SanType::IpAddress));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        Ok(params)
    }
}

/// The parameters of a CA that may sign no other CA.
pub(super) fn authority(name: &str, now: OffsetDateTime, days: u32) -> Result<CertificateParams, Error> {
    let mut params = blank(now, Validity::Days(days))?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn blank(now: OffsetDateTime, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    (params.not_before, params.not_after) = match validity {
        Validity::Days(days) => (now - BACKDATED, now.saturating_add(Duration::days(i64::from(days)))),
        Validity::Over => (now - Duration::days(2), now - Duration::days(1)),
    };
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 128 bits, all but two of them random: positive, and never shorter (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = random::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// A subject's attribute, with the string type that RFC 5280 appendix A gives it.
fn attribute(key: &str, value: &str) -> Result<(DnType, DnValue), Error> {
    let oid = x509::attribute_oid(key).ok_or_else(|| {
        Error::failed(format_args!("`{}` is no key of a subject", key.escape_debug()))
            .hint("use CN, O, OU, C, ST, L and the like, or a dotted OID")
    })?;
    let wrong = || Error::failed(format_args!("`{}` cannot be the {key} of a subject", value.escape_debug()));
    let typed = match key {
        "C" | "serialNumber" | "dnQualifier" => {
            DnValue::PrintableString(PrintableString::try_from(value).map_err(|_| wrong())?)
        }
        "DC" | "emailAddress" => DnValue::Ia5String(Ia5String::try_from(value).map_err(|_| wrong())?),
        _ => DnValue::Utf8String(value.to_owned()),
    };
    Ok((DnType::from_oid(&oid), typed))
}

fn ascii(text: &str) -> Result<Ia5String, Error> {
    Ia5String::try_from(text)
        .map_err(|_| Error::failed(format_args!("`{}` is not ASCII", text.escape_debug())))
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Server => "server",
            Role::Client => "client",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_positive_and_of_16_bytes() {
        for _ in 0..64 {
            let serial = serial().unwrap();
            assert_eq!(serial.len(), 16);
            assert!((0x40..0x80).contains(&serial.as_ref()[0]));
        }
    }
}
