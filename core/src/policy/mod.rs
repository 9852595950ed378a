//! A compiled policy: which client a certificate is, and what its requests get.

mod client;
mod compile;
mod condition;
mod deny;
mod explain;
mod fact;
mod hash_index;
mod header;
mod hop;
mod index;
mod lint;
mod nearest;
mod network;
mod owned;
mod pattern;
mod probe_client;
mod problem;
mod rule;
mod template;
#[cfg(test)]
mod work;

use std::rc::Rc;

use otlp_gate_wire::otlp::{Owned, Signal};

pub use client::{Client, Identification};
pub use deny::denies;
pub use explain::{Explanation, Matched, PassedOver};
pub use hop::Hop;
pub use lint::lint;
pub use nearest::nearest;
pub use owned::owned_attributes;
pub use pattern::{Pattern, PatternError, Separator};
pub use probe_client::{VERIFY_ATTRIBUTE, VERIFY_NAME, VERIFY_URI};
pub use problem::{ConfigPath, PathStep, Problem};
pub use template::{Placeholder, Segment, Template, TemplateError};

use self::condition::{Captures, Condition};
use self::deny::Deny;
pub(crate) use self::header::is_spelling;
use self::index::Index;
use self::pattern::Reading;
use self::probe_client::Reserved;
use self::rule::{Rule, SharedTemplates};
use crate::config::{Limits, PolicyConfig};
use crate::identity::{Authorities, Examination, Identity};
use crate::quota::{BucketId, Tier};

/// A compiled policy, ready to identify clients.
#[derive(Debug)]
pub struct Policy {
    gate: String,
    shadow: bool,
    total: Option<Tier>,
    quota_group: Option<Vec<String>>,
    quota_limits: BucketId,
    divides_quotas: bool,
    limits: Limits,
    no_profiles: bool,
    busiest_clients: usize,
    deny: Deny,
    authorities: Authorities,
    /// Whether rules ask for the CA that signed a certificate.
    asks_for_ca: bool,
    cors_origins: Vec<Pattern>,
    hops: Vec<Hop>,
    rules: Vec<Rule>,
    /// All matches of all rules, in the order in which they are tried.
    alternatives: Vec<Alternative>,
    index: Index,
    unknown: Option<Rc<Tier>>,
    verify: Option<Reserved>,
    shared: SharedTemplates,
    owned_attributes: Vec<String>,
    owned_headers: Vec<String>,
}

#[derive(Debug)]
struct Alternative {
    rule: usize,
    /// Its index in the rule's list of matches.
    number: usize,
    condition: Condition,
}

/// The step by which a certificate is identified. [`Policy::identify`] takes the client from it, [`Policy::explain`]
/// reports it.
enum Decision<'a> {
    /// The certificate is on the deny list.
    Denied,
    /// A CA of the gate has revoked the certificate.
    Revoked,
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

/// The name of the proxy's cluster with the engine of shared quotas of a gate: one proxy may have several gates.
pub fn engine_cluster(gate: &str) -> String {
    format!("otlp_gate_quota_engine/{gate}")
}

impl Policy {
    /// Checks and compiles a config.
    ///
    /// # Errors
    /// All errors of the config, in its order.
    pub fn compile(config: &PolicyConfig) -> Result<Policy, Vec<Problem>> {
        compile::compile(config)
    }

    /// Finds out which client CA signed the certificate of an identity, if the config names CAs, and whether a CA has
    /// revoked it. [`Policy::identify`] needs that.
    pub fn examine(&self, identity: &mut Identity, by: Examination<'_>) {
        self.authorities.examine(identity, self.asks_for_ca, by);
    }

    /// Identifies a client. The first rule that matches decides. The deny list and the reserved client of `otlp-gate
    /// verify` come before all rules.
    pub fn identify(&self, identity: &Identity) -> Identification {
        match self.decide(identity) {
            Decision::Denied => Identification::Denied,
            Decision::Revoked => Identification::Revoked,
            Decision::Rule(RuleMatch { client, .. })
            | Decision::Reserved(client)
            | Decision::Unknown(client) => self.unless_denied(client),
            Decision::Rejected => Identification::Unknown,
        }
    }

    /// Identifies a client, and reports which rules matched and which nearly matched.
    pub fn explain(&self, identity: &Identity) -> Explanation {
        explain::explain(self, identity)
    }

    /// The trusted hop with this certificate: a proxy that may forward the identity of its clients. The first entry
    /// that matches decides.
    pub fn hop(&self, identity: &Identity) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.is(identity)).filter(|_| !identity.revoked && !self.denies(identity))
    }

    /// Whether any proxy may forward the identities of its clients.
    pub fn trusts_hops(&self) -> bool {
        !self.hops.is_empty()
    }

    /// The keys of owned attributes, sorted. They are removed from every client's Resources.
    pub fn owned_attributes(&self) -> &[String] {
        &self.owned_attributes
    }

    /// The same, compiled for look-ups of keys as clients may spell them.
    pub fn owned(&self) -> &Owned {
        &self.shared.owned
    }

    /// The names of owned headers, and of those in which trusted hops forward certificates, in lower case, sorted. They
    /// are removed from every request.
    pub fn owned_headers(&self) -> &[String] {
        &self.owned_headers
    }

    /// The limits on messages.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many clients with names of patterns may have metrics of their own.
    pub fn busiest_clients(&self) -> usize {
        self.busiest_clients
    }

    /// Whether the backend takes a signal.
    pub fn takes(&self, signal: Signal) -> bool {
        signal != Signal::Profiles || !self.no_profiles
    }

    /// Whether web pages of this origin may send.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.cors_origins.iter().any(|pattern| pattern.matches(origin, Reading::Strict, &mut Vec::new()))
    }

    /// Whether quotas are only counted and reported (`mode: shadow`).
    pub fn shadow(&self) -> bool {
        self.shadow
    }

    /// The limits of all clients together, if there are any.
    pub fn total(&self) -> Option<&Tier> {
        self.total.as_ref()
    }

    /// What gates have in common whose quotas are one; `None` if each replica has quotas of its own.
    pub fn quota_group(&self) -> Option<&[String]> {
        self.quota_group.as_deref()
    }

    /// A hash of all tiers' limits: replicas whose quotas are one should have the same.
    pub fn quota_limits(&self) -> BucketId {
        self.quota_limits
    }

    /// Whether replicas divide the rates among them while the engine is away (`away: divide`).
    pub fn divides_quotas(&self) -> bool {
        self.divides_quotas
    }

    /// The name of the proxy's cluster with the engine of shared quotas, if there is one.
    pub fn engine_cluster(&self) -> Option<String> {
        self.quota_group.as_ref().map(|_| engine_cluster(&self.gate))
    }

    /// The gate's `namespace/name`.
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
        if identity.revoked {
            return Decision::Revoked;
        }
        if let Some(client) = self.verify.as_ref().and_then(|it| it.admit(identity, &self.shared)) {
            return Decision::Reserved(client);
        }
        if let Some(found) = self.matches(identity).next() {
            return Decision::Rule(found);
        }
        let unknown = self.unknown.as_ref().and_then(|tier| self.shared.admit_unknown(identity, tier).ok());
        unknown.map_or(Decision::Rejected, Decision::Unknown)
    }

    /// Every rule that matches, in the order of the config; a rule as often as it has matches that hold.
    fn matches<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = RuleMatch<'a>> {
        self.index.candidates(identity).into_iter().filter_map(move |position| {
            let (alternative, rule) = self.alternative(position)?;
            let captures = alternative.condition.holds(identity)?;
            let condition = Some(&alternative.condition);
            let client = rule.admit(alternative.rule, identity, condition, &captures, &self.shared).ok()?;
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
mod certificate_tests;
#[cfg(test)]
mod tests;
