//! The policy, compiled: which client a certificate is, and what follows from it.

mod client;
mod compile;
mod condition;
mod deny;
mod explain;
mod hashed;
mod header;
mod index;
mod nearest;
mod pattern;
mod problem;
mod rule;
mod template;
mod verify;
mod warning;

use std::rc::Rc;

use otlp_gate_wire::otlp::Owned;

pub use client::{Client, Identification};
pub use deny::denies;
pub use explain::{Explanation, Matched, PassedOver};
pub use pattern::{Pattern, PatternError, Separator};
pub use problem::{Path, Problem, Segment};
pub use template::{Part, Placeholder, Template, TemplateError};
pub use verify::{VERIFY_ATTRIBUTE, VERIFY_NAME, VERIFY_URI};
pub use warning::warnings;

use self::condition::{Captures, Condition};
use self::deny::Deny;
pub(crate) use self::header::is_spelling;
use self::index::Index;
use self::pattern::Reading;
use self::rule::{Rule, Stamping};
use crate::config::{Limits, PolicyConfig};
use crate::identity::Identity;
use crate::quota::Tier;

/// A policy without mistakes, ready to say who is who.
#[derive(Debug)]
pub struct Policy {
    gate: String,
    shadow: bool,
    total: Option<Tier>,
    limits: Limits,
    deny: Deny,
    cors_origins: Vec<Pattern>,
    hops: Vec<Condition>,
    rules: Vec<Rule>,
    /// Every match of every rule, in the order in which they are tried.
    alternatives: Vec<Alternative>,
    index: Index,
    unknown: Option<Rc<Tier>>,
    verify: Option<Rule>,
    stamping: Stamping,
    owned_attributes: Vec<String>,
    owned_headers: Vec<String>,
}

#[derive(Debug)]
struct Alternative {
    rule: usize,
    /// Its place in the rule's list of matches.
    number: usize,
    condition: Condition,
}

/// The step by which a certificate is identified. [`Policy::identify`] takes the client from it, [`Policy::explain`] reports it.
enum Decision<'a> {
    /// The certificate is on the deny list.
    Denied,
    /// It is the certificate of `otlp-gate verify`.
    Reserved(Client),
    /// A rule matches.
    Rule(RuleMatch<'a>),
    /// No rule matches, and such certificates are clients of their own.
    Unknown(Client),
    /// No rule matches, and such certificates are rejected.
    Rejected,
}

/// A rule that matches a certificate, and the client that it makes of it.
struct RuleMatch<'a> {
    alternative: &'a Alternative,
    captures: Captures<'a>,
    client: Client,
}

impl Policy {
    /// Checks everything that a config says, and makes a policy of it.
    ///
    /// # Errors
    /// All mistakes, in the order of the config.
    pub fn compile(config: &PolicyConfig) -> Result<Policy, Vec<Problem>> {
        compile::compile(config)
    }

    /// Which client this is. The first rule that matches decides; before all rules come the deny list and the client
    /// that is reserved for `otlp-gate verify`.
    pub fn identify(&self, identity: &Identity) -> Identification {
        match self.decide(identity) {
            Decision::Denied => Identification::Denied,
            Decision::Rule(RuleMatch { client, .. })
            | Decision::Reserved(client)
            | Decision::Unknown(client) => self.unless_denied(client),
            Decision::Rejected => Identification::Unknown,
        }
    }

    /// Which client this is, and why.
    pub fn explain(&self, identity: &Identity) -> Explanation {
        explain::explain(self, identity)
    }

    /// Whether this is a proxy that may say who its clients are.
    pub fn is_hop(&self, identity: &Identity) -> bool {
        !self.denies(identity) && self.hops.iter().any(|hop| hop.holds(identity).is_some())
    }

    /// The keys of the resource attributes that the gate owns, sorted. They are removed from every client's Resources.
    pub fn owned_attributes(&self) -> &[String] {
        &self.owned_attributes
    }

    /// The same, compiled for look-ups of keys as clients may spell them.
    pub fn owned(&self) -> &Owned {
        &self.stamping.owned
    }

    /// The names of the headers that the gate owns, in lower case, sorted. They are removed from every request.
    pub fn owned_headers(&self) -> &[String] {
        &self.owned_headers
    }

    /// How large messages may be.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether web pages of this origin may send.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.cors_origins.iter().any(|pattern| pattern.matches(origin, Reading::Strict, &mut Vec::new()))
    }

    /// Whether quotas only count and report.
    pub fn shadow(&self) -> bool {
        self.shadow
    }

    /// The limits of all clients together.
    pub fn total(&self) -> Option<&Tier> {
        self.total.as_ref()
    }

    /// The gate's name, `namespace/name`.
    pub fn gate(&self) -> &str {
        &self.gate
    }

    fn denies(&self, identity: &Identity) -> bool {
        self.deny.certificate(identity)
    }

    /// The step by which a certificate is identified.
    fn decide<'a>(&'a self, identity: &'a Identity) -> Decision<'a> {
        if self.denies(identity) {
            return Decision::Denied;
        }
        if let Some(client) =
            self.verify.as_ref().and_then(|rule| verify::admit(rule, identity, &self.stamping))
        {
            return Decision::Reserved(client);
        }
        if let Some(found) = self.matches(identity).next() {
            return Decision::Rule(found);
        }
        let unknown = self.unknown.as_ref().and_then(|tier| self.stamping.admit_unknown(identity, tier).ok());
        unknown.map_or(Decision::Rejected, Decision::Unknown)
    }

    /// Every rule that matches, in the order of the config; a rule as often as it has matches that hold.
    fn matches<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = RuleMatch<'a>> {
        self.index.candidates(identity).into_iter().filter_map(move |position| {
            let (alternative, rule) = self.alternative(position)?;
            let captures = alternative.condition.holds(identity)?;
            let client = rule.admit(alternative.rule, identity, &captures, &self.stamping).ok()?;
            Some(RuleMatch { alternative, captures, client })
        })
    }

    /// The client, unless its name is on the deny list.
    fn unless_denied(&self, client: Client) -> Identification {
        if self.deny.name(&client.name) { Identification::Denied } else { Identification::Client(client) }
    }

    fn alternative(&self, position: u32) -> Option<(&Alternative, &Rule)> {
        let alternative = self.alternatives.get(usize::try_from(position).ok()?)?;
        Some((alternative, self.rules.get(alternative.rule)?))
    }
}

#[cfg(test)]
mod tests;
