//! The reserved client with which `otlp-gate verify` tries a gate from outside.
//!
//! It is a client like any other to the rest of the gate: with a certificate of its own, attributes and a quota. No rule can
//! give its name to another client, since what rules name has no `/`.

use std::rc::Rc;
use std::time::Duration;

use super::client::Client;
use super::rule::{Rule, Stamping};
use super::template::Template;
use crate::identity::Identity;
use crate::quota::{Dimension, Rates, Tier};

/// The URI SAN of its certificate.
pub const VERIFY_URI: &str = "spiffe://otlp-gate/verify";
/// Its name, and its tier's.
pub const VERIFY_NAME: &str = "otlp-gate/verify";
/// The resource attribute by which a Collector can tell its data from everybody else's. The gate owns it.
pub const VERIFY_ATTRIBUTE: &str = "otlp_gate.verify";

/// Enough for a run every few seconds, and nothing that a backend would notice.
const REQUESTS: u64 = 20;
const ITEMS: u64 = 20;
const BYTES: u64 = 100_000;
const BURST: Duration = Duration::from_secs(5);

/// Its rule.
pub(super) fn rule() -> Rule {
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

/// The reserved client, if this is its certificate.
pub(super) fn admit(rule: &Rule, identity: &Identity, stamping: &Stamping) -> Option<Client> {
    if identity.spiffe.as_deref() != Some(VERIFY_URI) {
        return None;
    }
    let client = rule.admit(0, identity, &Vec::new(), stamping).ok()?;
    Some(Client { rule: None, ..client })
}
