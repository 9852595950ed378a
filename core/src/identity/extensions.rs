//! The extensions of a certificate that are read (RFC 5280, section 4.2).

use super::der::{
    BIT_STRING, BOOLEAN, Der, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, bit_string, boolean,
    constructed, integer, oid, primitive,
};
use super::names::Names;

/// The most extensions that a certificate may have.
const MAX_EXTENSIONS: usize = 64;
/// The most entries of an extended key usage.
const MAX_USAGES: usize = 64;

// id-ce, 2.5.29
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

/// The values of the extensions that are read. Others are skipped, also those that are critical: whether they allow the
/// certificate was decided by the proxy that validated it.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) names: Names,
    /// Dotted OIDs; empty without the extension.
    pub(super) extended_key_usage: Vec<String>,
    /// The identifier of its own key.
    pub(super) subject_key_id: Option<&'a [u8]>,
    /// The identifier of the issuer's key.
    pub(super) authority_key_id: Option<&'a [u8]>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// Whether it limits the names of certificates below it, or has a critical extension that is not read.
    pub(super) constrained: bool,
    /// Whether the key may sign certificates; `None` without the extension keyUsage.
    pub(super) key_cert_sign: Option<bool>,
}

/// The extension basicConstraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BasicConstraints {
    pub(super) ca: bool,
    /// How many intermediate CAs may follow.
    pub(super) path_length: Option<u32>,
}

impl<'a> Extensions<'a> {
    /// Reads the content of `Extensions`. `None` where it is malformed, or has an extension twice.
    pub(super) fn read(content: &'a [u8]) -> Option<Self> {
        let mut all = Der(content);
        let mut extensions = Extensions::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !all.is_empty() {
            let mut extension = Der(all.content(SEQUENCE)?);
            let id = extension.content(OBJECT_IDENTIFIER)?;
            let critical = match extension.optional(BOOLEAN)? {
                Some(critical) => boolean(critical.content)?,
                None => false,
            };
            let value = extension.only(OCTET_STRING)?;
            if seen.len() == MAX_EXTENSIONS || seen.contains(&id) {
                return None;
            }
            seen.push(id);
            match id {
                SUBJECT_ALT_NAME => extensions.names = Names::read(value)?,
                EXTENDED_KEY_USAGE => extensions.extended_key_usage = extended_key_usage(value)?,
                AUTHORITY_KEY_IDENTIFIER => extensions.authority_key_id = authority_key_id(value)?,
                BASIC_CONSTRAINTS => extensions.basic_constraints = Some(BasicConstraints::read(value)?),
                KEY_USAGE => extensions.key_cert_sign = Some(key_cert_sign(value)?),
                SUBJECT_KEY_IDENTIFIER => {
                    extensions.subject_key_id = Some(Der(value).only(OCTET_STRING)?);
                }
                NAME_CONSTRAINTS => extensions.constrained = true,
                _ => extensions.constrained |= critical,
            }
        }
        Some(extensions)
    }

    /// Whether the extended key usage allows certificates of clients; without the extension all uses are allowed.
    pub(super) fn allows_client_auth(&self) -> bool {
        const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
        const ANY: &str = "2.5.29.37.0";
        let usages = &self.extended_key_usage;
        usages.is_empty() || usages.iter().any(|usage| usage == CLIENT_AUTH || usage == ANY)
    }
}

impl BasicConstraints {
    /// Section 4.2.1.9. That `cA` is not written where it is false is not required: some CAs write it.
    fn read(value: &[u8]) -> Option<Self> {
        let mut fields = Der(Der(value).only(SEQUENCE)?);
        let ca = match fields.optional(BOOLEAN)? {
            Some(ca) => boolean(ca.content)?,
            None => false,
        };
        let path_length = match fields.optional(INTEGER)? {
            Some(length) => Some(small(length.content)?),
            None => None,
        };
        fields.is_empty().then_some(BasicConstraints { ca, path_length })
    }
}

/// An INTEGER from 0 to 2^31 - 1.
fn small(content: &[u8]) -> Option<u32> {
    let bytes = integer(content)?;
    let is_small = bytes.len() <= 4 && bytes.first().is_some_and(|first| *first < 0x80);
    is_small.then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// Bit 5 of the extension keyUsage (section 4.2.1.3). Bits are counted from the most significant one.
fn key_cert_sign(value: &[u8]) -> Option<bool> {
    let (bytes, _) = bit_string(Der(value).only(BIT_STRING)?)?;
    Some(bytes.first().is_some_and(|first| first & 0x04 != 0))
}

/// Section 4.2.1.12.
fn extended_key_usage(value: &[u8]) -> Option<Vec<String>> {
    let mut all = Der(Der(value).only(SEQUENCE)?);
    let mut usages = Vec::new();
    while usages.is_empty() || !all.is_empty() {
        if usages.len() == MAX_USAGES {
            return None;
        }
        usages.push(oid(all.content(OBJECT_IDENTIFIER)?)?);
    }
    Some(usages)
}

/// Section 4.2.1.1. The name and serial number of the issuer are skipped.
fn authority_key_id(value: &[u8]) -> Option<Option<&[u8]>> {
    let mut fields = Der(Der(value).only(SEQUENCE)?);
    let id = fields.optional(primitive(0))?;
    fields.optional(constructed(1))?;
    fields.optional(primitive(2))?;
    fields.is_empty().then_some(id.map(|id| id.content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::der::element;

    #[test]
    fn at_most_64_usages_are_read() {
        let usages =
            |number: usize| element(SEQUENCE, &element(OBJECT_IDENTIFIER, &[0x2a, 3]).repeat(number));
        assert_eq!(extended_key_usage(&usages(MAX_USAGES)).map(|all| all.len()), Some(MAX_USAGES));
        assert_eq!(extended_key_usage(&usages(MAX_USAGES + 1)), None);
        assert_eq!(extended_key_usage(&usages(0)), None);
    }
}
