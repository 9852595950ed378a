//! Why a match does not match a certificate, and what to change.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::super::condition::{Captures, Condition, Key, Outcome, conflict};
use super::super::fact::Fact;
use super::super::pattern::{CaptureKind, Pattern, Reading, Separator};
use super::super::problem::ConfigPath;
use super::difference;
use super::excerpt::excerpt;
use crate::identity::{Fingerprint, Identity, extended_key_usage_name, hex};
use crate::sort;

/// The distance of a key that the certificate lacks, see [`NearMiss::distance`].
const ABSENT: usize = 15;
/// The longest capture that a rule may allow, in characters.
const LONGEST_CAPTURE: usize = 255;
/// The cause of everything that differs because another CA issued the certificate.
const ISSUER: &str = "issuer";
/// How many values of one key are compared with a pattern, of a certificate that may have hundreds.
const MAX_VALUES: usize = 32;

/// Why a match does not match.
#[derive(Debug)]
pub(super) struct NearMiss {
    pub(super) path: ConfigPath,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// How much the certificate differs from the match: about ten for each part of a name.
    pub(super) distance: usize,
    /// Whether all literal text matches, and only wildcards do not.
    pub(super) wildcards_only: bool,
}

/// Why one pattern does not match.
struct Finding {
    reason: String,
    hint: Option<String>,
    distance: usize,
    wildcards_only: bool,
    /// Whether the values are similar enough to compare without another key that matches.
    related: bool,
}

impl Finding {
    fn wildcards_only(reason: String, hint: impl Into<String>) -> Self {
        Finding { reason, hint: Some(hint.into()), distance: 0, wildcards_only: true, related: true }
    }
}

/// Why a condition does not hold; `None` if it is too different from the certificate.
pub(super) fn of_condition(
    condition: &Condition,
    identity: &Identity,
    path: &ConfigPath,
) -> Option<NearMiss> {
    let mut findings: Vec<(ConfigPath, Finding)> = Vec::new();
    let mut captures = Vec::new();
    let mut holding = 0;
    // What has nothing in common with the certificate, each cause once.
    let mut unrelated: BTreeSet<String> = BTreeSet::new();
    for (number, Outcome { key, pattern, value }) in condition.outcomes(identity, &mut captures).enumerate() {
        match value {
            // All certificates of a CA may have the same issuer.
            Some(_) => holding += usize::from(!matches!(key, Key::Issuer(_))),
            None => {
                let finding = of_pattern(condition, key, pattern, identity);
                if !finding.related {
                    let cause =
                        if matches!(key, Key::Issuer(_)) { ISSUER.to_owned() } else { key.to_string() };
                    unrelated.insert(cause);
                }
                findings.push((path_of(condition, number, key, path), finding));
            }
        }
    }
    for fact in condition.facts() {
        if fact.is_of(identity) {
            holding += usize::from(matches!(fact, Fact::Ip(_)));
        } else {
            findings.push((fact.place(path), of_fact(fact, identity)));
            let of_issuer = matches!(fact, Fact::Ca(_) | Fact::IssuerKeyId(_) | Fact::IssuerKey(_));
            unrelated.insert(if of_issuer { ISSUER } else { fact.key() }.to_owned());
        }
    }
    if findings.is_empty() {
        let (name, one, other) = conflict(&mut captures)?;
        let reason = format!("{{{name}}} would have two values, `{}` and `{}`", excerpt(one), excerpt(other));
        let finding =
            Finding::wildcards_only(reason, "use two different names, or write `*` for one of them");
        findings.push((path.clone(), finding));
    }
    if !unrelated.is_empty() && (holding == 0 || unrelated.len() > 1) {
        return None;
    }
    let wildcards_only = findings.iter().all(|(_, finding)| finding.wildcards_only);
    let distance = findings.iter().map(|(_, finding)| finding.distance).sum();
    let first = findings.first().map(|(path, _)| path.clone())?;
    let (reasons, hints): (Vec<_>, Vec<_>) =
        findings.into_iter().map(|(_, finding)| (finding.reason, finding.hint)).unzip();
    let hint = match hints.as_slice() {
        [only] => only.clone(),
        _ => {
            let hints: Vec<String> = sort::set(hints.into_iter().flatten()).into_iter().collect();
            Some(hints.join("; ")).filter(|hint| !hint.is_empty())
        }
    };
    Some(NearMiss { path: first, reason: reasons.join("; "), hint, distance, wildcards_only })
}

/// The place of the pattern with this number in the config.
fn path_of(condition: &Condition, number: usize, key: Key<'_>, path: &ConfigPath) -> ConfigPath {
    let path = key.place(path);
    let same = condition.patterns().enumerate().filter(|(_, (other, _))| *other == key);
    let numbers: Vec<usize> = same.map(|(number, _)| number).collect();
    match numbers.iter().position(|other| *other == number) {
        Some(index) if numbers.len() > 1 => path.index(index),
        _ => path,
    }
}

/// Why a pattern does not match.
fn of_pattern(condition: &Condition, key: Key<'_>, pattern: &Pattern, identity: &Identity) -> Finding {
    let name = &*name(key);
    if key.values_in(identity).next().is_none() {
        return absent(key, pattern, identity, name);
    }
    let free = || key.values_in(identity).filter(|value| !condition.is_taken(key, pattern, value));
    let several: Vec<&str> =
        free().filter(|value| pattern.matches(value, Reading::Strict, &mut Vec::new())).collect();
    // Values that are the same for all clients tend to be shorter than those that identify one.
    let several = sort::by_key(several, |value| value.len());
    if let [first, second, ..] = several.as_slice() {
        let all = match key {
            Key::Spiffe | Key::Dns => format!("several of its {name}s"),
            Key::Email => format!("several of its {name}es"),
            Key::Subject(_) | Key::Issuer(_) => format!("several values of its {name}"),
        };
        let reason = format!(
            "{all} match, such as `{}` and `{}`, and the rule does not say which one to use",
            excerpt(first),
            excerpt(second)
        );
        // As it is written in the config.
        let is_issuer = matches!(key, Key::Issuer(_));
        let list = |key: &str, values: &str| match is_issuer {
            true => format!("`issuer: {{subject: {{{key}: [{values}, \"{pattern}\"]}}}}`"),
            false => format!("`subject: {{{key}: [{values}, \"{pattern}\"]}}`"),
        };
        let hint = match (key, several.as_slice()) {
            (Key::Subject(key) | Key::Issuer(key), [one, other]) => {
                let list = list(key, &format!("\"{}\"", excerpt(one)));
                format!("list the other value: {list} captures `{}`", excerpt(other))
            }
            (Key::Subject(key) | Key::Issuer(key), _) => {
                format!("list the other values: {}", list(key, &format!("\"{}\", ..", excerpt(first))))
            }
            _ => "make the pattern more specific, or issue the certificate with one of them".to_owned(),
        };
        return Finding::wildcards_only(reason, hint);
    }
    let compared = free().take(MAX_VALUES).map(|value| of_value(key, pattern, value, name));
    let nearest = compared.min_by_key(|finding| finding.distance);
    let taken = || Finding {
        reason: format!("it has no {name} except those that the rule's list has literally"),
        hint: Some("remove the other from the list, or issue the certificate with both".to_owned()),
        distance: ABSENT,
        wildcards_only: false,
        related: false,
    };
    nearest.unwrap_or_else(taken)
}

/// A certificate lacks the key: perhaps it has the value under another one.
fn absent(key: Key<'_>, pattern: &Pattern, identity: &Identity, name: &str) -> Finding {
    let places = [
        Key::Spiffe,
        Key::Dns,
        Key::Email,
        Key::Subject("CN"),
        Key::Subject("O"),
        Key::Subject("OU"),
        Key::Subject("emailAddress"),
    ];
    let may_be = says_much(pattern) && !matches!(key, Key::Issuer(_));
    let elsewhere = places.into_iter().filter(|other| *other != key && may_be).find_map(|other| {
        let mut values = other.values_in(identity);
        let value = values.find(|value| pattern.matches(value, Reading::Any, &mut Vec::new()))?;
        Some((other, value))
    });
    match elsewhere {
        Some((other, value)) => {
            let reason = format!("it has no {name}, but `{}` as its {}", excerpt(value), self::name(other));
            let place = match other {
                Key::Subject(key) => format!("`subject: {{{key}: ..}}`"),
                _ => format!("`{other}`"),
            };
            let hint = format!("match it under {place}, or issue the certificate with it as its {name}");
            Finding { distance: ABSENT, wildcards_only: false, ..Finding::wildcards_only(reason, hint) }
        }
        None => Finding {
            reason: match key {
                Key::Issuer(key) => format!("its issuer has no {key}"),
                _ => format!("it has no {name}"),
            },
            hint: Some("remove it from the rule, or issue the certificate with it".to_owned()),
            distance: ABSENT,
            wildcards_only: false,
            related: false,
        },
    }
}

/// Why a fact is not true of a certificate.
fn of_fact(fact: Fact<'_>, identity: &Identity) -> Finding {
    let renewed = "update it, as after a renewal of the CA, or name the CA in `clientCAs` and match `ca`";
    let (reason, hint) = match fact {
        Fact::Sha256(_) => (
            "its fingerprint is different, as after a renewal".to_owned(),
            "update it, or match by name instead".to_owned(),
        ),
        Fact::Ca(name) => {
            let reason = match identity.ca_name() {
                Some(other) => format!("the CA `{other}` signed it, not `{name}`"),
                None => format!("the CA `{name}` has not signed it, nor any other in `clientCAs`"),
            };
            (reason, "issue the certificate under that CA, or change `ca`".to_owned())
        }
        Fact::Ip(network) => {
            let reason = match identity.ips.as_slice() {
                [] => "it has no IP address".to_owned(),
                [only] => format!("its IP address is `{only}`, which `{network}` does not contain"),
                [first, ..] => format!("none of its IP addresses, such as `{first}`, is in `{network}`"),
            };
            (
                reason,
                "write a network that contains it, or issue the certificate with an address in it".to_owned(),
            )
        }
        Fact::IssuerKeyId(_) => {
            let reason = match identity.issuer_key_id() {
                Some(other) => format!("the identifier of its issuer's key is `{}`", excerpt(&hex(other))),
                None => "it has no identifier of its issuer's key".to_owned(),
            };
            (reason, renewed.to_owned())
        }
        Fact::IssuerKey(_) => {
            let reason = match identity.issuer_key() {
                Some(other) => {
                    format!("the key that signed it has the SHA-256 `{}`", Fingerprint(other).hex())
                }
                None => "no CA in `clientCAs` has signed it".to_owned(),
            };
            (reason, renewed.to_owned())
        }
        Fact::Usage(usage) => (
            format!("it does not list the extended key usage `{}`", extended_key_usage_name(usage)),
            "issue the certificate with it, or remove it from the rule".to_owned(),
        ),
    };
    Finding { reason, hint: Some(hint), distance: ABSENT, wildcards_only: false, related: false }
}

/// Whether a pattern has enough literal text for a match to be meaningful.
fn says_much(pattern: &Pattern) -> bool {
    pattern.literals().map(str::len).sum::<usize>() >= 3
}

fn of_value(key: Key<'_>, pattern: &Pattern, value: &str, name: &str) -> Finding {
    let mut captures = Vec::new();
    if pattern.matches(value, Reading::Any, &mut captures) {
        return of_wildcards(pattern, value, &captures, name);
    }
    if pattern.lower_case().matches(&value.to_ascii_lowercase(), Reading::Any, &mut Vec::new()) {
        let reason = format!("its {name} is `{}`, which differs from `{pattern}` in case", excerpt(value));
        let hint = "write it in the rule as in the certificate";
        return Finding { distance: 1, ..Finding::wildcards_only(reason, hint) };
    }
    let compared = difference::compare(pattern, value);
    let reason =
        format!("its {name} is `{}`, and {}", excerpt(value), compared.difference(key == Key::Spiffe));
    Finding {
        reason,
        hint: Some(compared.hint(pattern.separator())),
        distance: compared.distance,
        wildcards_only: false,
        related: compared.related,
    }
}

/// All literal text matches: the value of a capture or of a `*` is not allowed.
fn of_wildcards(pattern: &Pattern, value: &str, captures: &Captures<'_>, key: &str) -> Finding {
    let separator = pattern.separator();
    for ((name, kind), (_, value)) in pattern.capture_kinds().zip(captures) {
        if let Some(finding) = of_capture(name, kind, value, separator) {
            return finding;
        }
    }
    let parts = match separator {
        Separator::Dns => "one label",
        Separator::Uri => "one part between `/`",
        Separator::Email => "one part between `.` and `@`",
        Separator::Subject => "one part between `.` and `/`",
    };
    let reason = format!("its {key} is `{}`, but `*` in `{pattern}` matches only {parts}", excerpt(value));
    Finding::wildcards_only(reason, "write `**` where there may be several")
}

/// Why a capture cannot have this value.
fn of_capture(name: &str, kind: CaptureKind, value: &str, separator: Separator) -> Option<Finding> {
    let wrong =
        sort::set(value.chars().filter(|it| !u8::try_from(*it).is_ok_and(|it| kind.holds(it, separator))));
    let (length, most) = (value.chars().count(), usize::from(kind.max));
    let too_long = value.len() > most;
    if wrong.is_empty() && !too_long {
        return None;
    }
    let would_be = format!("{{{name}}} would be `{}`", excerpt(value));
    let ends = |it: &char| *it == '/' || separator.ends_char(*it);
    let why = match (wrong.iter().find(|it| ends(it)), wrong.first()) {
        (Some(end), _) => format!("but a capture ends at `{end}`"),
        (None, Some(first)) => format!("but a capture cannot contain `{}`", first.escape_debug()),
        (None, None) => format!("which has {length} characters, more than {most}"),
    };
    let allowed: String = wrong.iter().filter(|it| matches!(it, '.' | ':' | '@')).collect();
    let hint = if wrong.contains(&'/') {
        format!("write one capture for each part, such as {{{name}}}/{{{name}_2}}, or `**` if none is needed")
    } else if allowed.chars().count() == wrong.len() && value.len() <= LONGEST_CAPTURE {
        let max = too_long.then(|| format!("max: {}", value.len()));
        // Keep what the rule already allows.
        let before =
            [('.', kind.dot), (':', kind.colon), ('@', kind.at)].into_iter().filter(|(_, allowed)| *allowed);
        let all: String = before.map(|(character, _)| character).chain(allowed.chars()).collect();
        let allow = (!allowed.is_empty()).then(|| format!("allow: \"{all}\""));
        let keys: Vec<String> = max.into_iter().chain(allow).collect();
        format!("allow it in the rule: `words: {{{name}: {{{}}}}}`", keys.join(", "))
    } else {
        "write `*` or `**` in its place, and make the client's name of something else".to_owned()
    };
    Some(Finding::wildcards_only(format!("{would_be}, {why}"), hint))
}

fn name(key: Key<'_>) -> Cow<'_, str> {
    match key {
        Key::Spiffe => "URI name".into(),
        Key::Dns => "DNS name".into(),
        Key::Email => "e-mail address".into(),
        Key::Subject(key) => key.into(),
        Key::Issuer(key) => format!("issuer's {key}").into(),
    }
}
