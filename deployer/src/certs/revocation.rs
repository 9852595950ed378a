//! What a CA revoked. The list itself is the only record of it.

use time::OffsetDateTime;
use x509_parser::parse_x509_crl;
use x509_parser::pem::parse_x509_pem;

use crate::x509::{Certificate, rfc2253};

/// What a CA revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    /// The name of the CA whose list it is, as its certificate's subject has it.
    pub issuer: Option<String>,
    /// The number of the list. Each new one has a higher number (RFC 5280 section 5.2.3).
    pub number: u64,
    /// In the order in which they were revoked.
    pub entries: Vec<Revocation>,
}

/// A certificate that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its serial number, most significant byte first, without leading zeros.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub time: OffsetDateTime,
}

impl Revocations {
    /// The first list of a CA, with nothing in it.
    pub fn none(authority: &Certificate) -> Self {
        Revocations { issuer: authority.subject.clone(), number: 1, entries: Vec::new() }
    }

    /// Reads a list in PEM.
    ///
    /// # Errors
    /// The reason why it is none, to be put after the name of the file.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let (_, block) = parse_x509_pem(pem).map_err(|e| format!("not a revocation list in PEM: {e}"))?;
        let (_, list) = parse_x509_crl(&block.contents).map_err(|e| format!("not a revocation list: {e}"))?;
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let entries = list.iter_revoked_certificates().map(|it| Revocation {
            serial: it.serial().to_bytes_be(),
            time: it.revocation_date.to_datetime(),
        });
        Ok(Revocations { issuer: rfc2253(list.issuer()), number, entries: entries.collect() })
    }

    /// Adds a certificate by its serial number, and counts the list up. `false`: it was there already.
    pub fn add(&mut self, serial: &[u8], time: OffsetDateTime) -> bool {
        if self.contains(serial) {
            return false;
        }
        self.entries.push(Revocation { serial: serial.to_owned(), time });
        self.number += 1;
        true
    }

    /// Whether it holds this serial number.
    pub fn contains(&self, serial: &[u8]) -> bool {
        self.entries.iter().any(|it| it.serial == serial)
    }
}

/// Whether one of these lists holds this serial number. 126 random bits are not another CA's by chance.
pub fn is_revoked(lists: &[Revocations], serial: &[u8]) -> bool {
    lists.iter().any(|list| list.contains(serial))
}
