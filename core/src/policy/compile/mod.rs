//! From a config to a policy, with every mistake on the way.

mod limits;
mod matching;
mod names;
mod origins;
mod stamps;
mod tiers;

use std::collections::BTreeSet;
use std::rc::Rc;

use otlp_gate_wire::otlp::Owned;

use self::matching::{Kinds, Words};
use self::tiers::Tiers;
use super::condition::Condition;
use super::deny::Deny;
use super::hashed::repeated;
use super::index::Index;
use super::nearest::nearest;
use super::problem::{Path, Place, Problem};
use super::rule::{Rule, Stamping};
use super::template::{Placeholder, Template};
use super::verify;
use super::{Alternative, Policy};
use crate::config::{ClientRule, Matches, Mode, PolicyConfig, Unknown};
use crate::sort;

/// So many clients have metrics of their own: the first ones whose names are literal.
const LISTED_CLIENTS: usize = 200;

pub(super) fn compile(config: &PolicyConfig) -> Result<Policy, Vec<Problem>> {
    let mut later = Vec::new();
    let tiers = Tiers::compile(&config.quotas, &mut later);
    limits::check(&config.limits, &mut later);

    let mut compiler = Compiler { tiers, ..Compiler::default() };
    for (index, client) in config.clients.iter().enumerate() {
        compiler.client(index, client);
    }
    compiler.duplicates(config);
    let mut problems = core::mem::take(&mut compiler.problems);
    let unknown_are_clients = !config.unknown.is_reject();
    names::check(
        &compiler.rules,
        &compiler.words,
        &compiler.broken_rules(),
        unknown_are_clients,
        &mut problems,
    );
    problems = sort::by_key(problems, |problem| problem.path.first_index());

    let unknown = match &config.unknown {
        Unknown::Reject => None,
        Unknown::Tier(name) => compiler.tiers.named(name, &Place::of("unknown"), &mut problems),
    };
    let (attributes, headers) = stamps::general(config, &compiler.rules, &compiler.words, &mut problems);
    let deny = Deny::compile(&config.deny, &mut problems);
    let place = Place::of("trustedHops");
    let hops = config.trusted_hops.iter().enumerate();
    let kinds = Kinds::new();
    let hops = hops
        .map(|(index, hop)| matching::compile(hop, &kinds, &place.index(index), &mut problems).0)
        .collect();
    let cors_origins = origins::compile(&config.cors_origins, &mut problems);
    problems.append(&mut later);
    if !problems.is_empty() {
        return Err(problems);
    }

    let verify = config.verify.then(verify::rule);
    let own = compiler.rules.iter().chain(&verify).flat_map(|rule| &rule.attributes);
    let owned_attributes = sort::set(own.chain(&attributes).map(|(key, _)| key).chain(&config.owned));
    let owned_attributes: Vec<String> = owned_attributes.into_iter().cloned().collect();
    let owned = Rc::new(Owned::new(&owned_attributes, config.owned_spellings.is_folded()));
    Ok(Policy {
        gate: config.gate.clone(),
        total: compiler.tiers.total,
        shadow: config.quotas.mode == Mode::Shadow,
        limits: config.limits.clone(),
        deny,
        cors_origins,
        hops,
        index: Index::new(compiler.alternatives.iter().map(|alternative| &alternative.condition)),
        unknown,
        verify,
        owned_attributes,
        owned_headers: headers.iter().map(|(name, _)| name.clone()).collect(),
        rules: compiler.rules,
        alternatives: compiler.alternatives,
        stamping: Stamping { attributes, headers, owned },
    })
}

#[derive(Default)]
struct Compiler {
    problems: Vec<Problem>,
    tiers: Tiers,
    rules: Vec<Rule>,
    /// What each rule captures.
    words: Vec<Words>,
    alternatives: Vec<Alternative>,
    /// The positions of alternatives that have a mistake.
    broken: BTreeSet<usize>,
    listed: usize,
}

impl Compiler {
    /// Adds one rule for every client of the config, be it right or wrong, so that indexes agree.
    fn client(&mut self, index: usize, client: &ClientRule) {
        let clients = Place::of("clients");
        let path = clients.index(index);
        let place = path.key("words");
        let kinds = matching::kinds(&client.words, &place, &mut self.problems);
        let words = self.matches(index, client, &kinds, &path.key("match"));
        matching::check_kinds(&kinds, &words, &place, &mut self.problems);
        let name = names::compile(&client.name, &words, &path.key("name"), &mut self.problems);
        let attributes = stamps::own(&client.attributes, &words, &path.key("attributes"), &mut self.problems);
        let bucket_of = match &client.quota_per {
            Some(text) => self.bucket_of(text, &words, &path.key("quotaPer")),
            None => words.keys().map(|word| Placeholder::named(word)).collect(),
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
        self.words.push(words);
    }

    /// Adds the alternatives of a rule; gives the words that it captures.
    fn matches(&mut self, rule: usize, client: &ClientRule, kinds: &Kinds<'_>, path: &Place<'_>) -> Words {
        let matches = client.matches.as_slice();
        let mut common: Option<Words> = None;
        for (number, one) in matches.iter().enumerate() {
            let path = match client.matches {
                Matches::One(_) => *path,
                Matches::Any(_) => path.index(number),
            };
            let before = self.problems.len();
            let (condition, words) = matching::compile(one, kinds, &path, &mut self.problems);
            if self.problems.len() > before {
                self.broken.insert(self.alternatives.len());
            }
            match &mut common {
                None => common = Some(words),
                Some(common) => {
                    if let Some(word) = common.keys().find(|word| !words.contains_key(*word)) {
                        let problem = format!("it does not capture {{{word}}}, which the first match does");
                        let hint =
                            "every match of one rule captures the same words; make it a rule of its own";
                        self.problems.push(Problem::new(path, problem).hint(hint));
                    }
                    if let Some(word) = words.keys().find(|word| !common.contains_key(*word)) {
                        let problem = format!("it captures {{{word}}}, which the first match does not");
                        let hint =
                            "every match of one rule captures the same words; write `*` for what is not used";
                        self.problems.push(Problem::new(path, problem).hint(hint));
                    }
                    for (word, class) in common {
                        *class = words.get(word).map_or(*class, |other| class.or(*other));
                    }
                }
            }
            self.alternatives.push(Alternative { rule, number, condition });
        }
        if matches.is_empty() {
            self.problems.push(Problem::new(path, "the list of matches is empty, so that none ever holds"));
        }
        common.unwrap_or_default()
    }

    fn bucket_of(&mut self, text: &str, words: &Words, path: &Place<'_>) -> Vec<Placeholder> {
        if words.contains_key(text) || (Placeholder::BUILT_IN.contains(&text) && text != "name") {
            let problem = format!("`{text}` is plain text and makes one bucket for the whole rule");
            self.problems.push(Problem::new(path, problem).hint(format!("write \"{{{text}}}\"")));
        }
        let known = |placeholder: &Placeholder| match placeholder {
            Placeholder::Name => false,
            Placeholder::Other(word) => words.contains_key(&**word),
            _ => true,
        };
        let template = template(text, path, &mut self.problems);
        for placeholder in template.placeholders().filter(|placeholder| !known(placeholder)) {
            let built_in = Placeholder::BUILT_IN.into_iter().filter(|word| *word != "name");
            self.problems.push(unknown_placeholder(
                placeholder,
                path,
                words.keys().map(String::as_str).chain(built_in),
            ));
        }
        sort::set(template.placeholders()).into_iter().cloned().collect()
    }

    fn broken_rules(&self) -> BTreeSet<usize> {
        sort::set(self.broken.iter().filter_map(|position| Some(self.alternatives.get(*position)?.rule)))
    }

    /// Refuses a match that says the same as one before it.
    fn duplicates(&mut self, config: &PolicyConfig) {
        let sound =
            self.alternatives.iter().enumerate().filter(|(position, _)| !self.broken.contains(position));
        let sound: Vec<&Alternative> = sound.map(|(_, alternative)| alternative).collect();
        let conditions: Vec<&Condition> = sound.iter().map(|alternative| &alternative.condition).collect();
        for (later, first) in repeated(&conditions) {
            let (Some(later), Some(first)) = (sound.get(later), sound.get(first)) else { continue };
            let first = Path::of_match(config, first.rule, first.number);
            let message = format!("it is the same as {first}, and never reached");
            self.problems.push(Problem::new(Path::of_match(config, later.rule, later.number), message));
        }
    }
}

/// A template; an empty one in place of a wrong one.
fn template(text: &str, path: &Place<'_>, problems: &mut Vec<Problem>) -> Template {
    Template::parse(text).unwrap_or_else(|error| {
        problems.push(Problem::new(path, error.to_string()));
        Template::default()
    })
}

fn unknown_placeholder<'a>(
    placeholder: &Placeholder,
    path: &Place<'_>,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let known: Vec<&str> = known.into_iter().collect();
    let hint = match nearest(&placeholder.word(), known.iter().copied()) {
        Some(nearest) => Some(format!("did you mean {{{nearest}}}?")),
        None if known.is_empty() => None,
        None => Some(format!("there are {{{}}}", known.join("} {"))),
    };
    Problem::new(path, format!("nothing is called {placeholder} here")).maybe_hint(hint)
}

#[cfg(test)]
mod tests;
