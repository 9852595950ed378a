//! What the policy says about a certificate.

use std::rc::Rc;

use crate::quota::{BucketId, Tier};

/// What the policy says about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is this client's.
    Client(Client),
    /// It is on the deny list.
    Denied,
    /// It is no client's.
    Unknown,
}

/// A client, as its certificate makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name: from the rule, or `unknown-` and 12 hex digits, or [`super::VERIFY_NAME`].
    pub name: String,
    /// The index in `clients` of the rule that matched; `None` for a client that no rule matched (`unknown: TIER`), and
    /// for the one that is reserved for `otlp-gate verify`.
    pub rule: Option<usize>,
    /// The resource attributes that it is stamped with, sorted by key, each key once.
    pub attributes: Vec<(String, String)>,
    /// The request headers that are set for the backend: lower-case names, sorted, each once. Owned headers that are
    /// not here are only removed.
    pub headers: Vec<(String, String)>,
    /// Where what it spends is counted.
    pub bucket: BucketId,
    /// What it may spend.
    pub tier: Rc<Tier>,
    /// Whether metrics carry its name: it is one of the first 200 configured clients whose names are literal. Others
    /// are counted together as `other`.
    pub listed: bool,
}
