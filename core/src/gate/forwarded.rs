//! What trusted hops forward about their clients.

use std::rc::Rc;

use super::client::TrustedHop;
use super::headers::{FORWARDED_CERTIFICATE, Headers};
use crate::identity::certificate_header::Problem;
use crate::identity::{Identity, xfcc};
use crate::response::Reason;

/// What a trusted hop forwards about its client, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The hop's own header, if it has one.
    header: Option<Rc<str>>,
    /// An element of `x-forwarded-client-cert`; or a line break and the value of the hop's own header. No header has a
    /// line break, so the key of a cache tells both apart.
    key: String,
}

impl Forwarded {
    /// An element of `x-forwarded-client-cert`.
    pub fn element(text: &str) -> Self {
        Forwarded { header: None, key: text.to_owned() }
    }

    /// The value of a header of the hop's own.
    pub fn own_header(name: &Rc<str>, value: &str) -> Self {
        Forwarded { header: Some(Rc::clone(name)), key: ["\n", value].concat() }
    }

    /// The element of `x-forwarded-client-cert` about the client, or the value of the hop's own header.
    pub(super) fn read(headers: &Headers, hop: &TrustedHop) -> Result<Self, Reason> {
        let Some(name) = &hop.header else {
            let header = forwarded_certificate(headers);
            let element = xfcc::nearest(&header, Some(hop.fingerprint)).map_err(Reason::Hop)?;
            return Ok(Forwarded::element(element));
        };
        let failed = |problem| Reason::HopHeader { header: Rc::clone(name), problem };
        let mut values =
            headers.iter().filter(|(header, _)| *header == name.as_bytes()).map(|(_, value)| *value);
        let value = values.next().ok_or_else(|| failed(Problem::Missing))?;
        if values.next().is_some() {
            return Err(failed(Problem::Repeated));
        }
        let value = core::str::from_utf8(value).map_err(|_| failed(Problem::Form))?;
        let value = match **name == *FORWARDED_CERTIFICATE {
            true => xfcc::without_proxy(value, &hop.fingerprint).map_err(Reason::Hop)?,
            false => value,
        };
        Ok(Forwarded::own_header(name, value))
    }

    /// The key of its client in a cache.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The identity in it.
    pub(super) fn identity(&self) -> Result<Identity, Reason> {
        match &self.header {
            None => xfcc::identity(&self.key).map_err(Reason::Hop),
            Some(name) => Identity::from_header(self.key.as_bytes())
                .map_err(|problem| Reason::HopHeader { header: Rc::clone(name), problem }),
        }
    }
}

/// All values of `x-forwarded-client-cert`, joined to one.
pub(super) fn forwarded_certificate(headers: &Headers) -> Vec<u8> {
    let values = headers.iter().filter(|(name, _)| *name == FORWARDED_CERTIFICATE.as_bytes());
    values.map(|(_, value)| *value).collect::<Vec<_>>().join(&b","[..])
}
