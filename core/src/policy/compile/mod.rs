//! Compiles a config to a policy, and finds all of its errors.

mod attributes;
mod authorities;
mod captures;
mod headers;
mod hops;
mod limits;
mod matching;
mod metrics;
mod names;
mod origins;
mod sharing;
mod tiers;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use otlp_gate_wire::otlp::Owned;

use self::captures::{CaptureClasses, CaptureKinds};
use self::tiers::Tiers;
use super::condition::Condition;
use super::deny::Deny;
use super::hash_index::duplicates;
use super::index::Index;
use super::nearest::nearest;
use super::probe_client::Reserved;
use super::problem::{ConfigPath, PathRef, Problem};
use super::rule::{Rule, SharedTemplates};
use super::template::{Placeholder, Template};
use super::{Alternative, Policy, owned_attributes};
use crate::config::{Away, ClientRule, Matches, Mode, PolicyConfig, Unknown};
use crate::sort;

/// The number of clients that have metric series of their own: the first rules whose names have no placeholder.
const LISTED_CLIENTS: usize = 200;

pub(super) fn compile(config: &PolicyConfig) -> Result<Policy, Vec<Problem>> {
    let mut later = Vec::new();
    let tiers = Tiers::compile(&config.quotas, &mut later);
    sharing::check(&config.quotas, &mut later);
    limits::check(&config.limits, &mut later);
    let busiest_clients = metrics::check(&config.metrics, &mut later);

    let cas = config.client_cas.iter().map(|ca| Rc::from(ca.name.as_str()));
    let scope = matching::Scope { cas: sort::set(cas.filter(|name: &Rc<str>| !name.is_empty())) };
    let mut compiler = Compiler::new(scope, tiers);
    for (index, client) in config.clients.iter().enumerate() {
        compiler.client(index, client);
    }
    compiler.duplicates(config);
    let mut problems = core::mem::take(&mut compiler.problems);
    let unknown_are_clients = !config.unknown.is_reject();
    names::check(
        &compiler.rules,
        &compiler.captures,
        &compiler.broken_rules(),
        unknown_are_clients,
        &mut problems,
    );
    problems = sort::by_key(problems, |problem| problem.path.first_index());

    let unknown = match &config.unknown {
        Unknown::Reject => None,
        Unknown::Tier(name) => compiler.tiers.named(name, &PathRef::of("unknown"), &mut problems),
    };
    let captures = compiler.captures.as_slice();
    let captured = sort::set(captures.iter().flat_map(BTreeMap::keys).map(String::as_str));
    let attributes =
        attributes::compile(&config.attributes, &captured, &PathRef::of("attributes"), &mut problems);
    let scope = headers::Scope { rules: &compiler.rules, captures, captured, attributes: &attributes };
    for (key, template) in &attributes {
        let path = PathRef::of("attributes");
        compiler.scope.check_placeholders(template.placeholders(), &path.key(key), &mut problems);
    }
    let headers = scope.compile(&config.headers, &mut problems);
    for (name, template) in &headers {
        let path = PathRef::of("headers");
        // The config may spell the name in any case.
        let key = config.headers.keys().find(|key| key.eq_ignore_ascii_case(name)).unwrap_or(name);
        compiler.scope.check_placeholders(template.placeholders(), &path.key(key), &mut problems);
    }
    let deny = Deny::compile(&config.deny, &mut problems);
    problems.extend(deny.unknown_cas(&config.deny, &config.client_cas));
    let authorities = authorities::compile(&config.client_cas, &mut problems);
    let hops = hops::compile(&config.trusted_hops, &compiler.scope, &headers, &mut problems);
    let cors_origins = origins::compile(&config.cors_origins, &mut problems);
    problems.append(&mut later);
    if !problems.is_empty() {
        return Err(problems);
    }

    let verify = config.verify.then(|| Reserved::new(&config.client_cas));
    let owned_attributes = owned_attributes(config);
    let owned_headers = headers.iter().map(|(name, _)| name.as_str());
    let owned_headers = owned_headers.chain(hops.iter().filter_map(|hop| hop.header().map(|name| &**name)));
    let owned_headers = sort::set(owned_headers).into_iter().map(str::to_owned).collect();
    let owned = Rc::new(Owned::new(&owned_attributes, config.owned_spellings.is_folded()));
    Ok(Policy {
        gate: config.gate.clone(),
        quota_group: sharing::group(&config.gate, &config.quotas),
        quota_limits: compiler.tiers.digest(),
        total: compiler.tiers.total,
        divides_quotas: config.quotas.away == Away::Divide,
        shadow: config.quotas.mode == Mode::Shadow,
        limits: config.limits.clone(),
        no_profiles: config.no_profiles,
        busiest_clients,
        deny,
        asks_for_ca: authorities.have_names()
            || compiler.alternatives.iter().any(|alternative| alternative.condition.has_issuer_key())
            || hops.iter().any(|hop| hop.certificate.has_issuer_key())
            || verify.as_ref().is_some_and(Reserved::asks_for_ca),
        authorities,
        cors_origins,
        hops,
        index: Index::new(compiler.alternatives.iter().map(|alternative| &alternative.condition)),
        unknown,
        verify,
        owned_attributes,
        owned_headers,
        rules: compiler.rules,
        alternatives: compiler.alternatives,
        shared: SharedTemplates { attributes, headers, owned },
    })
}

struct Compiler {
    scope: matching::Scope,
    problems: Vec<Problem>,
    tiers: Tiers,
    rules: Vec<Rule>,
    /// The captures of each rule.
    captures: Vec<CaptureClasses>,
    alternatives: Vec<Alternative>,
    /// The positions of alternatives that have errors.
    broken: BTreeSet<usize>,
    listed: usize,
}

impl Compiler {
    fn new(scope: matching::Scope, tiers: Tiers) -> Self {
        Compiler {
            scope,
            problems: Vec::new(),
            tiers,
            rules: Vec::new(),
            captures: Vec::new(),
            alternatives: Vec::new(),
            broken: BTreeSet::new(),
            listed: 0,
        }
    }

    /// Adds one rule for every entry of `clients`, also if it has errors, so that their indexes are the same.
    fn client(&mut self, index: usize, client: &ClientRule) {
        let clients = PathRef::of("clients");
        let path = clients.index(index);
        let words = path.key("words");
        let kinds = captures::kinds(&client.words, &words, &mut self.problems);
        let captures = self.matches(index, client, &kinds, &path.key("match"));
        captures::check(&kinds, &captures, &words, &mut self.problems);
        let name = names::compile(&client.name, &captures, &path.key("name"), &mut self.problems);
        let attributes =
            attributes::of_rule(&client.attributes, &captures, &path.key("attributes"), &mut self.problems);
        for (key, template) in &attributes {
            let attributes = path.key("attributes");
            let path = attributes.key(key);
            self.scope.check_placeholders(template.placeholders(), &path, &mut self.problems);
        }
        let bucket_of = match &client.quota_per {
            Some(text) => self.bucket_of(text, &captures, &path.key("quotaPer")),
            None => captures.keys().map(|name| Placeholder::parse(name)).collect(),
        };
        let tier = match &client.quota {
            Some(tier) => self.tiers.named(tier, &path.key("quota"), &mut self.problems),
            None => None,
        };
        let literal = name.literal().is_some();
        let listed = literal && self.listed < LISTED_CLIENTS;
        self.listed += usize::from(listed);
        let tier = tier.unwrap_or_else(|| self.tiers.default_tier());
        self.rules.push(Rule { name_text: client.name.clone(), name, attributes, bucket_of, tier, listed });
        self.captures.push(captures);
    }

    /// Adds the matches of a rule. Gives its captures.
    fn matches(
        &mut self,
        rule: usize,
        client: &ClientRule,
        kinds: &CaptureKinds<'_>,
        path: &PathRef<'_>,
    ) -> CaptureClasses {
        let matches = client.matches.as_slice();
        let mut common: Option<CaptureClasses> = None;
        for (number, one) in matches.iter().enumerate() {
            let path = match client.matches {
                Matches::One(_) => *path,
                Matches::Any(_) => path.index(number),
            };
            let before = self.problems.len();
            let (condition, captures) = self.scope.compile(one, kinds, &path, &mut self.problems);
            if self.problems.len() > before {
                self.broken.insert(self.alternatives.len());
            }
            match &mut common {
                None => common = Some(captures),
                Some(common) => {
                    if let Some(name) = common.keys().find(|name| !captures.contains_key(*name)) {
                        let problem = format!("it lacks the capture {{{name}}} of the first match");
                        let hint =
                            "all matches of a rule need the same captures; make this one a rule of its own";
                        self.problems.push(Problem::new(path, problem).hint(hint));
                    }
                    if let Some(name) = captures.keys().find(|name| !common.contains_key(*name)) {
                        let problem = format!("the first match lacks its capture {{{name}}}");
                        let hint = "all matches of a rule need the same captures; write `*` for a capture that is not used";
                        self.problems.push(Problem::new(path, problem).hint(hint));
                    }
                    for (name, class) in common {
                        *class = captures.get(name).map_or(*class, |other| class.or(*other));
                    }
                }
            }
            self.alternatives.push(Alternative { rule, number, condition });
        }
        if matches.is_empty() {
            self.problems.push(Problem::new(path, "the list of matches is empty: the rule never matches"));
        }
        common.unwrap_or_default()
    }

    fn bucket_of(&mut self, text: &str, captures: &CaptureClasses, path: &PathRef<'_>) -> Vec<Placeholder> {
        if captures.contains_key(text) || (Placeholder::BUILT_IN.contains(&text) && text != "name") {
            let problem = format!("`{text}` is not a placeholder: all clients of the rule share one bucket");
            self.problems
                .push(Problem::new(path, problem).hint_with(|| Some(format!("write \"{{{text}}}\""))));
        }
        let known = |placeholder: &Placeholder| match placeholder {
            Placeholder::Name => false,
            Placeholder::Named(name) => captures.contains_key(&**name),
            _ => true,
        };
        let template = template(text, path, &mut self.problems);
        for placeholder in template.placeholders().filter(|placeholder| !known(placeholder)) {
            let built_in = Placeholder::BUILT_IN.into_iter().filter(|name| *name != "name");
            self.problems.push(unknown_placeholder(
                placeholder,
                path,
                captures.keys().map(String::as_str).chain(built_in),
            ));
        }
        self.scope.check_placeholders(template.placeholders(), path, &mut self.problems);
        sort::set(template.placeholders()).into_iter().cloned().collect()
    }

    fn broken_rules(&self) -> BTreeSet<usize> {
        sort::set(self.broken.iter().filter_map(|position| Some(self.alternatives.get(*position)?.rule)))
    }

    /// Finds matches that equal an earlier one.
    fn duplicates(&mut self, config: &PolicyConfig) {
        let sound =
            self.alternatives.iter().enumerate().filter(|(position, _)| !self.broken.contains(position));
        let sound: Vec<&Alternative> = sound.map(|(_, alternative)| alternative).collect();
        let conditions: Vec<&Condition> = sound.iter().map(|alternative| &alternative.condition).collect();
        for (later, first) in duplicates(&conditions) {
            let (Some(later), Some(first)) = (sound.get(later), sound.get(first)) else { continue };
            let first = ConfigPath::of_match(config, first.rule, first.number);
            let message = format!("duplicate of {first}, never reached");
            self.problems.push(Problem::new(ConfigPath::of_match(config, later.rule, later.number), message));
        }
    }
}

/// Parses a template; an empty template if it has an error.
fn template(text: &str, path: &PathRef<'_>, problems: &mut Vec<Problem>) -> Template {
    Template::parse(text).unwrap_or_else(|error| {
        problems.push(Problem::new(path, error.to_string()));
        Template::default()
    })
}

fn unknown_placeholder<'a>(
    placeholder: &Placeholder,
    path: &PathRef<'_>,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let hint = || {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(&placeholder.name(), known.iter().copied()) {
            Some(nearest) => Some(format!("did you mean {{{nearest}}}?")),
            None if known.is_empty() => None,
            None => Some(format!("available placeholders: {{{}}}", known.join("} {"))),
        }
    };
    Problem::new(path, format!("unknown placeholder {placeholder}")).hint_with(hint)
}

#[cfg(test)]
mod tests;
