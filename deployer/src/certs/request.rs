//! The contents of a new certificate.

use std::net::IpAddr;

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::Host;
use crate::error::Error;
use crate::random::random;
use crate::x509::{self, Certificate, Role};

/// How far certificates and revocation lists are dated back, so that a gateway whose clock is behind accepts them at
/// once. Envoy rejects all clients while the time of issue of a list is in the future.
pub(crate) const BACKDATED: Duration = Duration::hours(1);

/// The validity period of a new certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// This many days from now, at most until the CA expires.
    Days(u32),
    /// It ended a day ago, to test that the gate rejects the certificate.
    Expired,
}

/// The contents of a new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The side that presents it.
    pub(crate) role: Role,
    /// The subject: keys as in the configuration (`CN`, `O`, dotted OIDs) and values, in the order of the certificate.
    pub(crate) subject: Vec<(String, String)>,
    /// URI SANs.
    pub(crate) uris: Vec<String>,
    /// DNS SANs.
    pub(crate) dns: Vec<String>,
    /// E-mail SANs.
    pub(crate) emails: Vec<String>,
    /// IP address SANs.
    pub(crate) ips: Vec<IpAddr>,
    /// The validity period.
    pub(crate) validity: Validity,
}

impl Request {
    /// A server's certificate for these names.
    pub(crate) fn server(hosts: Vec<Host>, days: u32) -> Self {
        let mut request = Request {
            role: Role::Server,
            subject: Vec::new(),
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            validity: Validity::Days(days),
        };
        for host in hosts {
            match host {
                Host::Dns(name) if !request.dns.contains(&name) => request.dns.push(name),
                Host::Ip(ip) if !request.ips.contains(&ip) => request.ips.push(ip),
                _ => {}
            }
        }
        let name = request.dns.first().cloned().or_else(|| request.ips.first().map(ToString::to_string));
        // X.520 limits a common name to 64 characters. Clients compare the SANs only.
        request.subject.extend(name.filter(|it| it.len() <= 64).map(|name| ("CN".to_owned(), name)));
        request
    }

    /// A certificate with the same names as `certificate`.
    pub(crate) fn renewal(certificate: &Certificate, role: Role, days: u32) -> Self {
        let names = certificate.identity();
        Request {
            role,
            subject: certificate.subject_attributes(),
            uris: names.uris.clone(),
            dns: names.dns.clone(),
            emails: names.emails.clone(),
            ips: names.ips.clone(),
            validity: Validity::Days(days),
        }
    }

    /// The parameters of the certificate. The validity period begins [`BACKDATED`] before `now`.
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
        for email in &self.emails {
            params.subject_alt_names.push(SanType::Rfc822Name(ascii(email)?));
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

/// The parameters of a CA that cannot issue other CAs.
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
        Validity::Expired => (now - Duration::days(2), now - Duration::days(1)),
    };
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 128 bits, of which 126 are random. The first two make the number positive and its length constant (RFC 5280 section
/// 4.1.2.2).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = random::<16>()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// An attribute of a subject, with its string type from RFC 5280 appendix A.
fn attribute(key: &str, value: &str) -> Result<(DnType, DnValue), Error> {
    let oid = x509::attribute_oid(key).ok_or_else(|| {
        Error::failed(format_args!("`{}` is not a subject key", key.escape_debug()))
            .hint("use CN, O, OU, C, ST, L or another short name, or a dotted OID")
    })?;
    let wrong =
        || Error::failed(format_args!("`{}` is not valid as the {key} of a subject", value.escape_debug()));
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
