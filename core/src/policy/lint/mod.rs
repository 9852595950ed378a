//! Warnings about a valid policy: settings that are allowed, but probably a mistake.

mod incomplete_headers;
mod trust_domains;
mod unreachable;

use std::collections::BTreeSet;

use super::Policy;
use super::condition::Key;
use super::deny::Deny;
use super::nearest::nearest;
use super::problem::{ConfigPath, Problem};
use crate::config::{PolicyConfig, TierConfig, Unknown};
use crate::identity::SUBJECT_KEYS;
use crate::quota::{Dimension, Rates, Tier};
use crate::sort;

/// The largest message that a Collector's gRPC receiver accepts by default, in bytes. A smaller burst of `bytes` cannot
/// hold it.
const SMALL_BYTES: u64 = 4 << 20;
/// The batch that the Collector's batch processor sends by default, in items. A smaller burst of items cannot hold it.
const SMALL_ITEMS: u64 = 8192;

/// The warnings about a config: bursts that usual batches exceed, rules that are never reached, ambiguous patterns,
/// hops that are never reached, headers that some clients lack, origins of all websites, denied names that no client has, unused tiers.
///
/// `policy` is the compiled config. Without it (the config has errors) only origins and tiers are looked at.
pub fn lint(config: &PolicyConfig, policy: Option<&Policy>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if let Some(policy) = policy {
        warnings.extend(patterns(policy, config));
        warnings.extend(unreachable::lint(policy, config));
        warnings.extend(trust_domains::lint(policy, config));
        warnings.extend(unreachable::hops(policy));
        warnings = sort::by_key(warnings, |warning| warning.path.first_index());
        warnings.extend(incomplete_headers::lint(policy, config));
        warnings.extend(Deny::ambiguous_serials(&config.deny, &config.client_cas));
        warnings.extend(policy.deny.unused_names(&config.deny, &policy.rules, policy.unknown.is_some()));
    }
    warnings.extend(origins(config));
    warnings.extend(tiers(config));
    warnings
}

fn origins(config: &PolicyConfig) -> Vec<Problem> {
    let open = config.cors_origins.iter().enumerate().filter(|(_, origin)| origin.ends_with("://**"));
    let warning = |(index, _)| {
        let message = "pages of every website may send, with the client certificate of their visitors";
        Problem::new(ConfigPath::of("corsOrigins").index(index), message).hint("list your own websites")
    };
    open.map(warning).collect()
}

fn patterns(policy: &Policy, config: &PolicyConfig) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for alternative in &policy.alternatives {
        let match_path = ConfigPath::of_match(config, alternative.rule, alternative.number);
        for (key, pattern) in alternative.condition.patterns() {
            let path = key.place(&match_path);
            if pattern.is_ambiguous() {
                let message =
                    "the pattern is ambiguous: each wildcard matches as little as possible, from the left";
                let hint = "use at most one wildcard in a segment that has a capture";
                warnings.push(Problem::new(path.clone(), message).hint(hint));
            }
            if let Key::Subject(key) | Key::Issuer(key) = key
                && !key.contains('.')
                && !SUBJECT_KEYS.iter().any(|(_, known)| known.eq_ignore_ascii_case(key))
            {
                let message = format!("`{key}` is not a common key of a subject");
                let hint = || {
                    let nearest = nearest(key, SUBJECT_KEYS.iter().map(|(_, known)| *known))?;
                    Some(format!("did you mean `{nearest}`?"))
                };
                warnings.push(Problem::new(path, message).hint_with(hint));
            }
        }
    }
    warnings
}

fn tiers(config: &PolicyConfig) -> Vec<Problem> {
    let mut used: BTreeSet<&str> =
        config.clients.iter().filter_map(|client| client.quota.as_deref()).collect();
    used.insert("default");
    if let Unknown::Tier(tier) = &config.unknown {
        used.insert(tier);
    }
    let mut warnings = Vec::new();
    for (name, tier) in &config.quotas.tiers {
        let path = ConfigPath::of("quotas").key("tiers").key(name);
        if !used.contains(name.as_str()) {
            warnings.push(Problem::new(path.clone(), "no client uses this tier"));
        }
        warnings.extend(small_bursts(name, tier, &path));
    }
    if let Some(total) = &config.quotas.total {
        warnings.extend(small_bursts("total", total, &ConfigPath::of("quotas").key("total")));
    }
    warnings
}

fn small_bursts(name: &str, config: &TierConfig, path: &ConfigPath) -> Vec<Problem> {
    let rates = Rates::from_fn(|dimension| config.rate(dimension).map(|rate| rate.per_second()));
    let tier = Tier::new(name, config.burst.duration(), rates);
    let mut warnings = Vec::new();
    for dimension in Dimension::ALL {
        let (smallest, what) = match dimension {
            Dimension::Requests => continue,
            Dimension::Bytes => (SMALL_BYTES, "messages of up to 4 MiB"),
            _ => (SMALL_ITEMS, "batches of up to 8192"),
        };
        let (Some(limit), Some(rate)) = (tier.limit(dimension), config.rate(dimension)) else { continue };
        if limit.capacity < smallest && limit.capacity > 0 {
            let seconds = smallest.div_ceil(limit.rate.max(1));
            let message = format!(
                "{rate} with a burst of {} holds {}, but {what} are common: larger ones are always throttled",
                config.burst, limit.capacity
            );
            let hint = format!("raise the rate, or the burst to {seconds}s");
            warnings.push(Problem::new(path.key(dimension.key()), message).hint(hint));
        }
    }
    warnings
}

#[cfg(test)]
mod tests;
