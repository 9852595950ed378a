//! The policy, compiled: which client a certificate is, and what follows from it.

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
mod verdict;
mod verify;
mod warning;

use std::rc::Rc;

use otlp_gate_wire::otlp::Owned;

pub use deny::denies;
pub use explain::{Explanation, Matched, PassedOver};
pub use pattern::{Pattern, PatternError, Separator};
pub use problem::{Path, Problem, Segment};
pub use template::{Part, Placeholder, Template, TemplateError};
pub use verdict::{Client, Verdict};
pub use verify::{VERIFY_ATTRIBUTE, VERIFY_NAME, VERIFY_URI};
pub use warning::warnings;

use self::condition::Condition;
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
    owned: Rc<Owned>,
    owned_headers: Vec<String>,
}

#[derive(Debug)]
struct Alternative {
    rule: usize,
    /// Its place in the rule's list of matches.
    number: usize,
    condition: Condition,
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
    pub fn identify(&self, identity: &Identity) -> Verdict {
        if self.denies(identity) {
            return Verdict::Denied;
        }
        if let Some(client) = self.verify_client(identity) {
            return self.admitted(client);
        }
        for position in self.index.candidates(identity) {
            let Some((alternative, rule)) = self.alternative(position) else { continue };
            let Some(captures) = alternative.condition.holds(identity, Reading::Strict) else { continue };
            if let Ok(client) = rule.admit(alternative.rule, identity, &captures, &self.stamping) {
                return self.admitted(client);
            }
        }
        self.identify_unknown(identity)
    }

    /// Which client this is, and why.
    pub fn explain(&self, identity: &Identity) -> Explanation {
        explain::explain(self, identity)
    }

    /// Whether this is a proxy that may say who its clients are.
    pub fn is_hop(&self, identity: &Identity) -> bool {
        !self.denies(identity) && self.hops.iter().any(|hop| hop.holds(identity, Reading::Strict).is_some())
    }

    /// The keys of the resource attributes that the gate owns, sorted. They are removed from every client's Resources.
    pub fn owned_attributes(&self) -> &[String] {
        &self.owned_attributes
    }

    /// The same, as it is looked up.
    pub fn owned(&self) -> &Rc<Owned> {
        &self.owned
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

    /// A client that a rule makes, unless its name is denied.
    fn admitted(&self, client: Client) -> Verdict {
        if self.deny.name(&client.name) { Verdict::Denied } else { Verdict::Client(client) }
    }

    fn verify_client(&self, identity: &Identity) -> Option<Client> {
        verify::admit(self.verify.as_ref()?, identity, &self.stamping)
    }

    fn alternative(&self, position: u32) -> Option<(&Alternative, &Rule)> {
        let alternative = self.alternatives.get(usize::try_from(position).ok()?)?;
        Some((alternative, self.rules.get(alternative.rule)?))
    }

    fn identify_unknown(&self, identity: &Identity) -> Verdict {
        let admitted =
            self.unknown.as_ref().and_then(|tier| self.stamping.admit_unknown(identity, tier).ok());
        admitted.map_or(Verdict::Unknown, |client| self.admitted(client))
    }
}

#[cfg(test)]
mod tests;
