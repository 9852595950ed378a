//! Certificate revocation lists (RFC 5280 section 5), as Envoy reads them.

use time::OffsetDateTime;
use x509_parser::parse_x509_crl;
use x509_parser::pem::parse_x509_pem;

use crate::x509::{Certificate, Number, rfc2253};

/// The certificates that a CA revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevocationList {
    /// The subject of the CA, in RFC 2253 form.
    pub(crate) issuer: Option<String>,
    /// The number of the list. Each new list has a higher number (RFC 5280 section 5.2.3).
    pub(crate) number: Number,
    /// The time of issue that the list states.
    pub(crate) this_update: OffsetDateTime,
    /// The certificates, in the order of revocation.
    pub(crate) entries: Vec<RevokedCertificate>,
}

/// An entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokedCertificate {
    /// The serial number of the certificate.
    pub(crate) serial: Number,
    /// When it was revoked.
    pub(crate) time: OffsetDateTime,
}

impl RevocationList {
    /// The first list of a CA, without entries.
    pub(crate) fn empty(authority: &Certificate) -> Self {
        RevocationList {
            issuer: authority.subject.clone(),
            number: Number::from_bytes(&[1]),
            this_update: OffsetDateTime::UNIX_EPOCH,
            entries: Vec::new(),
        }
    }

    /// Parses a list in PEM.
    ///
    /// # Errors
    /// Why it is not a list, for a message that begins with the file name.
    pub(crate) fn parse(pem: &[u8]) -> Result<Self, String> {
        let (_, block) = parse_x509_pem(pem).map_err(|e| format!("not a revocation list in PEM: {e}"))?;
        let (_, list) = parse_x509_crl(&block.contents).map_err(|e| format!("not a revocation list: {e}"))?;
        let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
        let entries = list.iter_revoked_certificates().map(|it| RevokedCertificate {
            serial: Number::from_bytes(&it.serial().to_bytes_be()),
            time: it.revocation_date.to_datetime(),
        });
        let this_update = list.last_update().to_datetime();
        let number = Number::from_bytes(&number);
        Ok(RevocationList {
            issuer: rfc2253(list.issuer().as_raw()),
            number,
            this_update,
            entries: entries.collect(),
        })
    }

    /// Adds a certificate, unless the list has it.
    pub(crate) fn add(&mut self, serial: &Number, time: OffsetDateTime) {
        if !self.contains(serial) {
            self.entries.push(RevokedCertificate { serial: serial.clone(), time });
        }
    }

    /// Gives the list the number after its own or after `other`, whichever is higher.
    pub(crate) fn count_up(&mut self, other: Option<&Number>) {
        self.number = other.map_or(&self.number, |other| other.max(&self.number)).next();
    }

    /// Whether the list has this serial number.
    pub(crate) fn contains(&self, serial: &Number) -> bool {
        self.entries.iter().any(|it| it.serial == *serial)
    }
}

/// Whether one of the lists has this serial number. Serial numbers are not compared per CA: 126 random bits do not
/// collide.
pub(crate) fn is_revoked(lists: &[RevocationList], serial: &Number) -> bool {
    lists.iter().any(|list| list.contains(serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_new_list_is_higher_than_any_before_it() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        for (own, other, next) in [
            ("01", None, "02"),
            ("05", Some("09"), "0a"),
            ("09", Some("05"), "0a"),
            ("09", Some("0100"), "0101"),
        ] {
            let (this_update, entries) = (OffsetDateTime::UNIX_EPOCH, Vec::new());
            let mut list = RevocationList { issuer: None, number: number(own), this_update, entries };
            list.count_up(other.map(number).as_ref());
            assert_eq!(list.number, number(next), "{own} {other:?}");
        }
    }
}
