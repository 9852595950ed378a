//! What a certificate is identified as.

use std::rc::Rc;

use otlp_gate_wire::otlp::ResourceAttributes;

use crate::identity::Validity;
use crate::quota::{BucketId, Tier};

/// What a policy identifies a certificate as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    /// A client that may send.
    Client(Client),
    /// The certificate, or the client's name, is on the deny list.
    Denied,
    /// A CA of the gate has revoked the certificate.
    Revoked,
    /// No rule matches, and certificates that no rule matches are rejected.
    Unknown,
}

/// An identified client: all that requests of it need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// From the rule; `unknown-` and 12 hex digits; or [`super::VERIFY_NAME`].
    pub name: String,
    /// The index in `clients` of the rule that matched. `None` for a client that no rule matches (`unknown: TIER`), and
    /// for the client that is reserved for `otlp-gate verify`.
    pub rule: Option<usize>,
    /// Whether metrics have series with its name in any case: it is among the first 200 rules whose names have no
    /// placeholder. Of all others, only the busiest have.
    pub listed: bool,
    /// The resource attributes to set, sorted by key, each key once; and those to remove.
    pub resource_attributes: ResourceAttributes,
    /// The request headers to set: lower-case names, sorted, each once. Owned headers that are not here are only
    /// removed.
    pub headers: Vec<(String, String)>,
    /// The token bucket that its requests are charged to.
    pub bucket: BucketId,
    /// The limits of that bucket.
    pub tier: Rc<Tier>,
    /// When its certificate is valid; `None` where a trusted hop did not forward the certificate.
    pub validity: Option<Validity>,
}

impl Client {
    /// The resource attributes that are set, sorted by key, each key once.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.resource_attributes.attributes()
    }
}
