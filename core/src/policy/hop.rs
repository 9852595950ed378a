//! Trusted hops: proxies in front of the gateway that may forward the identities of their clients.

use std::rc::Rc;

use super::condition::Condition;
use crate::identity::Identity;

/// A proxy that may forward the identity of its clients.
#[derive(Debug)]
pub struct Hop {
    /// What its own certificate must have.
    pub(super) certificate: Condition,
    pub(super) header: Option<Rc<str>>,
}

impl Hop {
    /// Whether this is the hop's own certificate.
    pub(super) fn is(&self, identity: &Identity) -> bool {
        self.certificate.holds(identity).is_some()
    }

    /// The header in which it forwards its client's certificate, in lower case; `None` where it sends Envoy's elements
    /// of `x-forwarded-client-cert`.
    pub fn header(&self) -> Option<&Rc<str>> {
        self.header.as_ref()
    }
}
