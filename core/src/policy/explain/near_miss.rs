//! What keeps one match from holding, and what to change.

use super::super::condition::{Captures, Condition, Key, Outcome, conflict};
use super::super::pattern::{CaptureKind, Pattern, Reading, Separator};
use super::super::problem::ConfigPath;
use super::difference;
use super::excerpt::excerpt;
use crate::identity::Identity;
use crate::sort;

/// What a key that is not there at all counts, see [`NearMiss::distance`].
const ABSENT: usize = 15;
/// The longest word that a rule may allow.
const LONGEST_WORD: usize = 255;

/// What keeps a match from holding.
#[derive(Debug)]
pub(super) struct NearMiss {
    pub(super) path: ConfigPath,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// How much would have to be another, some ten for each part of a name.
    pub(super) distance: usize,
    /// Whether all that is written out is there, and only what words and `*` stand for does not fit.
    pub(super) slip: bool,
}

/// What keeps one pattern from holding.
struct Finding {
    reason: String,
    hint: Option<String>,
    distance: usize,
    slip: bool,
    /// Whether the two have to do with each other by themselves.
    related: bool,
}

impl Finding {
    fn slip(reason: String, hint: impl Into<String>) -> Self {
        Finding { reason, hint: Some(hint.into()), distance: 0, slip: true, related: true }
    }
}

/// How near a match that does not hold is; `None` where it has nothing to do with the certificate.
pub(super) fn of_condition(
    condition: &Condition,
    identity: &Identity,
    path: &ConfigPath,
) -> Option<NearMiss> {
    let mut findings: Vec<(ConfigPath, Finding)> = Vec::new();
    let mut captures = Vec::new();
    let mut holding = 0;
    for (number, Outcome { key, pattern, value }) in condition.outcomes(identity, &mut captures).enumerate() {
        match value {
            Some(_) => holding += 1,
            None => {
                let finding = of_pattern(condition, key, pattern, identity);
                findings.push((path_of(condition, number, key, path), finding));
            }
        }
    }
    if !condition.has_fingerprint(identity) {
        let reason = "its fingerprint is another one, as after a renewal".to_owned();
        let hint = Some("write the new one, or leave it out and match by name".to_owned());
        let finding = Finding { reason, hint, distance: ABSENT, slip: false, related: false };
        findings.push((path.key("sha256"), finding));
    }
    if findings.is_empty() {
        let (word, one, other) = conflict(&mut captures)?;
        let reason = format!(
            "{{{word}}} would be both `{}` and `{}`, and a word has one value",
            excerpt(one),
            excerpt(other)
        );
        let finding = Finding::slip(reason, "give the two different names, or write `*` for one of them");
        findings.push((path.clone(), finding));
    }
    let unrelated = findings.iter().filter(|(_, finding)| !finding.related).count();
    if unrelated > 0 && (holding == 0 || unrelated > 1) {
        return None;
    }
    let slip = findings.iter().all(|(_, finding)| finding.slip);
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
    Some(NearMiss { path: first, reason: reasons.join("; "), hint, distance, slip })
}

/// Where the pattern of this number is in the config.
fn path_of(condition: &Condition, number: usize, key: Key<'_>, path: &ConfigPath) -> ConfigPath {
    let name = match key {
        Key::Spiffe => return path.key("spiffe"),
        Key::Dns => return path.key("dns"),
        Key::Subject(name) => name,
    };
    let path = path.key("subject").key(name);
    let same = condition.patterns().enumerate().filter(|(_, (other, _))| *other == key);
    let numbers: Vec<usize> = same.map(|(number, _)| number).collect();
    match numbers.iter().position(|other| *other == number) {
        Some(index) if numbers.len() > 1 => path.index(index),
        _ => path,
    }
}

/// Why a pattern does not hold.
fn of_pattern(condition: &Condition, key: Key<'_>, pattern: &Pattern, identity: &Identity) -> Finding {
    let name = name(key);
    if key.values_in(identity).next().is_none() {
        return absent(key, pattern, identity, name);
    }
    let left = || key.values_in(identity).filter(|value| !condition.leaves(key, pattern, value));
    let several: Vec<&str> =
        left().filter(|value| pattern.matches(value, Reading::Strict, &mut Vec::new())).collect();
    // Fixed values tend to be shorter than those that tell clients apart.
    let several = sort::by_key(several, |value| value.len());
    if let [first, second, ..] = several.as_slice() {
        let reason = format!(
            "several values of its {name} match, `{}` and `{}` among them, and the rule does not say which is meant",
            excerpt(first),
            excerpt(second)
        );
        let hint = match (key, several.as_slice()) {
            (Key::Subject(key), [one, other]) => format!(
                "name the other one in a list: subject: {{{key}: [\"{}\", \"{pattern}\"]}} takes `{}`",
                excerpt(one),
                excerpt(other)
            ),
            (Key::Subject(key), _) => {
                format!(
                    "name the others in a list: subject: {{{key}: [\"{}\", .., \"{pattern}\"]}}",
                    excerpt(first)
                )
            }
            _ => "say more of the one that is meant".to_owned(),
        };
        return Finding::slip(reason, hint);
    }
    let nearest =
        left().map(|value| of_value(key, pattern, value, name)).min_by_key(|finding| finding.distance);
    let taken = || Finding {
        reason: format!("it has no {name} beside what the rule's list names word for word"),
        hint: Some("take the other out of the list, or issue the certificate with both".to_owned()),
        distance: ABSENT,
        slip: false,
        related: false,
    };
    nearest.unwrap_or_else(taken)
}

/// Of a certificate without that key: perhaps it has the name in another place.
fn absent(key: Key<'_>, pattern: &Pattern, identity: &Identity, name: &str) -> Finding {
    let places = [Key::Spiffe, Key::Dns, Key::Subject("CN"), Key::Subject("O"), Key::Subject("OU")];
    let elsewhere =
        places.into_iter().filter(|other| *other != key && says_much(pattern)).find_map(|other| {
            let mut values = other.values_in(identity);
            let value = values.find(|value| pattern.matches(value, Reading::Any, &mut Vec::new()))?;
            Some((other, value))
        });
    match elsewhere {
        Some((other, value)) => {
            let reason = format!("it has no {name}, but `{}` as its {}", excerpt(value), self::name(other));
            let place = match other {
                Key::Spiffe => "`spiffe`".to_owned(),
                Key::Dns => "`dns`".to_owned(),
                Key::Subject(key) => format!("`subject: {{{key}: ..}}`"),
            };
            let hint = format!("match it under {place}, or issue the certificate with it as its {name}");
            Finding { distance: ABSENT, slip: false, ..Finding::slip(reason, hint) }
        }
        None => Finding {
            reason: format!("it has no {name}"),
            hint: Some("issue the certificate with it, or take it out of the rule".to_owned()),
            distance: ABSENT,
            slip: false,
            related: false,
        },
    }
}

/// Whether a pattern says enough of a text for a match to mean something.
fn says_much(pattern: &Pattern) -> bool {
    pattern.literals().map(str::len).sum::<usize>() >= 3
}

fn of_value(key: Key<'_>, pattern: &Pattern, value: &str, name: &str) -> Finding {
    let mut captures = Vec::new();
    if pattern.matches(value, Reading::Any, &mut captures) {
        return of_wildcards(pattern, value, &captures, name);
    }
    if pattern.lower_case().matches(&value.to_ascii_lowercase(), Reading::Any, &mut Vec::new()) {
        let reason = format!(
            "its {name} is `{}`, which differs from `{pattern}` in upper and lower case",
            excerpt(value)
        );
        let hint = "write it in the rule as the certificate has it";
        return Finding { distance: 1, ..Finding::slip(reason, hint) };
    }
    let compared = difference::compare(pattern, value);
    let reason =
        format!("its {name} is `{}`, and {}", excerpt(value), compared.difference(key == Key::Spiffe));
    Finding {
        reason,
        hint: Some(compared.hint(pattern.separator())),
        distance: compared.distance,
        slip: false,
        related: compared.related,
    }
}

/// All that is written out is there: what a word or a `*` stands for is not what it may be.
fn of_wildcards(pattern: &Pattern, value: &str, captures: &Captures<'_>, name: &str) -> Finding {
    let separator = pattern.separator();
    for ((word, kind), (_, value)) in pattern.capture_kinds().zip(captures) {
        if let Some(finding) = of_word(word, kind, value, separator) {
            return finding;
        }
    }
    let parts = match separator {
        Separator::Dns => "one label",
        Separator::Uri => "one part between `/`",
        Separator::Subject => "one part between `.` and `/`",
    };
    let reason = format!("its {name} is `{}`, and a `*` of `{pattern}` is {parts} only", excerpt(value));
    Finding::slip(reason, "write `**` where there may be several")
}

/// Why a word cannot be this.
fn of_word(word: &str, kind: CaptureKind, value: &str, separator: Separator) -> Option<Finding> {
    let wrong =
        sort::set(value.chars().filter(|it| !u8::try_from(*it).is_ok_and(|it| kind.holds(it, separator))));
    let (length, most) = (value.chars().count(), usize::from(kind.max));
    let too_long = value.len() > most;
    if wrong.is_empty() && !too_long {
        return None;
    }
    let would_be = format!("{{{word}}} would be `{}`", excerpt(value));
    let ends = |it: &char| matches!(it, '/') || (*it == '.' && separator != Separator::Uri);
    let why = match (wrong.iter().find(|it| ends(it)), wrong.first()) {
        (Some(end), _) => format!("and a word ends at `{end}`"),
        (None, Some(first)) => format!("and a word does not hold `{}`", first.escape_debug()),
        (None, None) => format!("which has {length} characters, and {most} is the most"),
    };
    let allowed: String = wrong.iter().filter(|it| matches!(it, '.' | ':' | '@')).collect();
    let hint = if wrong.contains(&'/') {
        format!("write one word for each part, such as {{{word}}}/{{{word}_2}}, or `**` where none is needed")
    } else if allowed.chars().count() == wrong.len() && value.len() <= LONGEST_WORD {
        let max = too_long.then(|| format!("max: {}", value.len()));
        // What is allowed already stays so.
        let before =
            [('.', kind.dot), (':', kind.colon), ('@', kind.at)].into_iter().filter(|(_, allowed)| *allowed);
        let all: String = before.map(|(character, _)| character).chain(allowed.chars()).collect();
        let allow = (!allowed.is_empty()).then(|| format!("allow: \"{all}\""));
        let keys: Vec<String> = max.into_iter().chain(allow).collect();
        format!("allow it in the rule: words: {{{word}: {{{}}}}}", keys.join(", "))
    } else {
        "write `*` or `**` in its place, and name the client by something else".to_owned()
    };
    Some(Finding::slip(format!("{would_be}, {why}"), hint))
}

fn name<'a>(key: Key<'a>) -> &'a str {
    match key {
        Key::Spiffe => "URI name",
        Key::Dns => "DNS name",
        Key::Subject(key) => key,
    }
}
