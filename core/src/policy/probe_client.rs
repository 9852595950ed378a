//! The reserved client of `otlp-gate verify`, which tests a gate from outside.
//!
//! It is an ordinary client, with its own certificate, attributes and quota. No rule can give its name to another
//! client: names that rules give have no `/`.

use std::rc::Rc;
use std::time::Duration;

use super::client::Client;
use super::rule::{Rule, SharedTemplates};
use super::template::Template;
use crate::config::ClientCa;
use crate::identity::Identity;
use crate::quota::{Dimension, Rates, Tier};

/// A URI SAN of its certificate.
pub const VERIFY_URI: &str = "spiffe://otlp-gate/verify";
/// Its name, and the name of its tier.
pub const VERIFY_NAME: &str = "otlp-gate/verify";
/// The owned resource attribute by which a Collector can tell its data from that of other clients.
pub const VERIFY_ATTRIBUTE: &str = "otlp_gate.verify";

// Enough for a run every few seconds, and too little to matter to a backend.
const REQUESTS: u64 = 20;
const ITEMS: u64 = 20;
const BYTES: u64 = 100_000;
const BURST: Duration = Duration::from_secs(5);

/// The rule that makes the client, and the CA that may issue its certificate.
#[derive(Debug)]
pub(super) struct Reserved {
    rule: Rule,
    /// The name in `clientCAs` of the only CA that may issue it, empty for one that no entry names; `None` for any CA.
    ca: Option<String>,
}

impl Reserved {
    pub(super) fn new(cas: &[ClientCa]) -> Self {
        let own = cas.iter().find(|ca| ca.verify);
        Reserved { rule: rule(), ca: own.map(|ca| ca.name.clone()) }
    }

    /// Whether it depends on the CA that signed a certificate.
    pub(super) fn asks_for_ca(&self) -> bool {
        self.ca.is_some()
    }

    /// The reserved client, if the certificate is its own.
    pub(super) fn admit(&self, identity: &Identity, shared: &SharedTemplates) -> Option<Client> {
        let is_of =
            |own: &str| identity.ca.as_ref().is_some_and(|ca| ca.name.as_deref().unwrap_or_default() == own);
        if !identity.uris.iter().any(|uri| uri == VERIFY_URI) || !self.ca.as_deref().is_none_or(is_of) {
            return None;
        }
        let client = self.rule.admit(0, identity, None, &Vec::new(), shared).ok()?;
        Some(Client { rule: None, ..client })
    }
}

fn rule() -> Rule {
    let rates = Rates::from_fn(|dimension| match dimension {
        Dimension::Requests => Some(REQUESTS),
        Dimension::Items => Some(ITEMS),
        Dimension::Bytes => Some(BYTES),
        _ => None,
    });
    Rule {
        name_text: VERIFY_NAME.to_owned(),
        name: Template::plain(VERIFY_NAME),
        attributes: vec![(VERIFY_ATTRIBUTE.to_owned(), Template::plain("true"))],
        bucket_of: Vec::new(),
        tier: Rc::new(Tier::new(VERIFY_NAME, BURST, rates)),
        listed: true,
    }
}
