//! What a CA revoked: the list that Envoy reads.

use time::OffsetDateTime;
use x509_parser::parse_x509_crl;
use x509_parser::pem::parse_x509_pem;

use crate::x509::{Certificate, rfc2253};

/// What a CA revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations {
    /// The name of the CA whose list it is, as its certificate's subject has it.
    pub issuer: Option<String>,
    /// The number of the list, most significant byte first: up to 20 bytes. Each new one has a higher number (RFC 5280
    /// section 5.2.3).
    pub number: Vec<u8>,
    /// When it says that it was made.
    pub this_update: OffsetDateTime,
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
        Revocations {
            issuer: authority.subject.clone(),
            number: vec![1],
            this_update: OffsetDateTime::UNIX_EPOCH,
            entries: Vec::new(),
        }
    }

    /// Reads a list in PEM.
    ///
    /// # Errors
    /// The reason why it is none, to be put after the name of the file.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let (_, block) = parse_x509_pem(pem).map_err(|e| format!("not a revocation list in PEM: {e}"))?;
        let (_, list) = parse_x509_crl(&block.contents).map_err(|e| format!("not a revocation list: {e}"))?;
        let number = list.crl_number().map_or_else(|| vec![0], |number| number.to_bytes_be());
        let entries = list.iter_revoked_certificates().map(|it| Revocation {
            serial: it.serial().to_bytes_be(),
            time: it.revocation_date.to_datetime(),
        });
        let this_update = list.last_update().to_datetime();
        Ok(Revocations { issuer: rfc2253(list.issuer()), number, this_update, entries: entries.collect() })
    }

    /// Adds a certificate by its serial number. `false`: it was there already.
    pub fn add(&mut self, serial: &[u8], time: OffsetDateTime) -> bool {
        if self.contains(serial) {
            return false;
        }
        self.entries.push(Revocation { serial: serial.to_owned(), time });
        true
    }

    /// Gives it the number after its own, and after `other` where that is higher.
    pub fn count_up(&mut self, other: Option<&[u8]>) {
        let higher = |it: &&[u8]| (it.len(), *it) > (self.number.len(), &*self.number);
        let mut number = other.filter(higher).map_or_else(|| self.number.clone(), <[u8]>::to_vec);
        for byte in number.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                self.number = number;
                return;
            }
        }
        number.insert(0, 1);
        self.number = number;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_after_another_is_higher_however_long_it_is() {
        for (own, other, next) in [
            (&[1][..], None, &[2][..]),
            (&[0xff], None, &[1, 0]),
            (&[1, 0xff, 0xff], None, &[2, 0, 0]),
            (&[5], Some(&[9][..]), &[10]),
            (&[9], Some(&[5]), &[10]),
            (&[9], Some(&[1, 0]), &[1, 1]),
            (&[0x7f; 20], None, &[[0x7f; 19].as_slice(), &[0x80]].concat()),
        ] {
            let this_update = OffsetDateTime::UNIX_EPOCH;
            let mut list =
                Revocations { issuer: None, number: own.to_vec(), this_update, entries: Vec::new() };
            list.count_up(other);
            assert_eq!(list.number, next, "{own:?} {other:?}");
        }
    }
}
