//! One match of a rule, compiled.

use super::pattern::{Pattern, Reading};
use crate::identity::Identity;
use crate::sort;

/// The names and values of captures, each name once.
pub(super) type Captures<'a> = Vec<(&'a str, &'a str)>;

/// What a certificate must have. All parts that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) spiffe: Option<Pattern>,
    pub(super) dns: Option<Pattern>,
    /// By key. A key with several patterns occurs several times, always spelled the same.
    pub(super) subject: Vec<(String, Pattern)>,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Condition {
    /// The captures from a certificate, if the condition holds.
    pub(super) fn holds<'a>(&'a self, identity: &'a Identity) -> Option<Captures<'a>> {
        if !self.has_fingerprint(identity) {
            return None;
        }
        let mut captures = Vec::new();
        let all = self.outcomes(identity, &mut captures).all(|outcome| outcome.value.is_some());
        (all && conflict(&mut captures).is_none()).then_some(captures)
    }

    /// Whether a certificate has the fingerprint, if one is given.
    pub(super) fn has_fingerprint(&self, identity: &Identity) -> bool {
        self.sha256.is_none_or(|digest| identity.has_fingerprint(&digest))
    }

    /// Matches the patterns, in order. Each that matches appends its captures.
    pub(super) fn outcomes<'a, 'c>(
        &'a self,
        identity: &'a Identity,
        captures: &'c mut Captures<'a>,
    ) -> impl Iterator<Item = Outcome<'a>> + use<'a, 'c> {
        self.patterns().map(move |(key, pattern)| {
            let value = self.holds_of(key, pattern, key.values_in(identity), captures);
            Outcome { key, pattern, value }
        })
    }

    /// The value that one of its patterns matches; the captures are appended.
    ///
    /// A key may have several values, of which one must match. If several match and give different captures, the
    /// pattern does not match: else the order of values, which the holder of the certificate may have chosen, would
    /// select the client. A value that equals one of the key's patterns is matched with that pattern only.
    fn holds_of<'a>(
        &'a self,
        key: Key<'_>,
        pattern: &'a Pattern,
        values: impl Iterator<Item = &'a str>,
        captures: &mut Captures<'a>,
    ) -> Option<&'a str> {
        let before = captures.len();
        let mut found: Option<(&str, usize)> = None;
        for value in values {
            let end = captures.len();
            if self.is_taken(key, pattern, value) || !pattern.matches(value, Reading::Strict, captures) {
                continue;
            }
            match found {
                None if captures.len() == end => return Some(value),
                None => found = Some((value, captures.len())),
                Some((_, end)) if captures.get(before..end) != captures.get(end..) => {
                    captures.truncate(before);
                    return None;
                }
                Some((_, end)) => captures.truncate(end),
            }
        }
        found.map(|(value, _)| value)
    }

    /// Whether a value equals another pattern of the same key.
    pub(super) fn is_taken(&self, key: Key<'_>, pattern: &Pattern, value: &str) -> bool {
        let Key::Subject(key) = key else { return false };
        pattern.exact().is_none()
            && self.subject.iter().any(|(other, pattern)| other == key && pattern.exact() == Some(value))
    }

    /// Whether it holds for all certificates for which the sampled condition holds; with [`Values::One`], for those
    /// that have no key of the subject twice. May be false although it does.
    pub(super) fn covers(&self, sample: &Sample<'_>, values: Values) -> bool {
        if self.sha256.is_some() && self.sha256 != sample.condition.sha256 {
            return false;
        }
        let mut captures = Vec::new();
        let matches = self.patterns().all(|(key, pattern)| {
            let only = values == Values::One && sample.of(key).nth(1).is_none();
            let certain = only || !key.repeats() || pattern.captures().next().is_none();
            let found = sample.of(key).any(|(_, value)| {
                !self.is_taken(key, pattern, value) && pattern.matches(value, Reading::Sample, &mut captures)
            });
            // A sample says nothing about further values of a key. They may match as well with other captures, unless
            // the sampled condition would not hold then either.
            found && (certain || self.captures_like(key, pattern, sample))
        });
        // A sample cannot show whether two values are the same.
        sort::in_place(&mut captures);
        matches && captures.windows(2).all(|pair| !matches!(pair, [(a, _), (b, _)] if a == b))
    }

    fn captures_like(&self, key: Key<'_>, pattern: &Pattern, sample: &Sample<'_>) -> bool {
        let [own, others] = [self, sample.condition].map(|condition| {
            let all = condition.patterns().filter(|(other, _)| other.is_same(key));
            sort::set(all.filter_map(|(_, pattern)| pattern.exact()))
        });
        own == others && sample.of(key).any(|(other, _)| other.is_like(pattern))
    }

    /// A sample of the certificates for which it holds.
    pub(super) fn sample(&self) -> Sample<'_> {
        let values = self.patterns().map(|(key, pattern)| (key, pattern, pattern.sample())).collect();
        Sample { condition: self, values }
    }

    /// All patterns with their keys.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (Key<'_>, &Pattern)> {
        let spiffe = self.spiffe.iter().map(|pattern| (Key::Spiffe, pattern));
        let dns = self.dns.iter().map(|pattern| (Key::Dns, pattern));
        let subject = self.subject.iter().map(|(key, pattern)| (Key::Subject(key), pattern));
        spiffe.chain(dns).chain(subject)
    }
}

/// Whether one pattern matches.
pub(super) struct Outcome<'a> {
    pub(super) key: Key<'a>,
    pub(super) pattern: &'a Pattern,
    /// The value of the certificate that it matches; `None` if there is none.
    pub(super) value: Option<&'a str>,
}

/// Which certificates are considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Those that have no key of the subject twice.
    One,
    /// All.
    Any,
}

/// Values that stand for all certificates for which a condition holds, see [`Pattern::sample`].
pub(super) struct Sample<'a> {
    condition: &'a Condition,
    values: Vec<(Key<'a>, &'a Pattern, String)>,
}

impl Sample<'_> {
    pub(super) fn sha256(&self) -> Option<[u8; 32]> {
        self.condition.sha256
    }

    /// Values that such a certificate has under the key; it may have more.
    pub(super) fn values(&self, key: Key<'_>) -> impl Iterator<Item = &str> {
        self.of(key).map(|(_, value)| value)
    }

    fn of(&self, key: Key<'_>) -> impl Iterator<Item = (&Pattern, &str)> {
        let values = self.values.iter().filter(move |(own, ..)| own.is_same(key));
        values.map(|(_, pattern, value)| (*pattern, value.as_str()))
    }
}

/// A part of a certificate that has patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Spiffe,
    Dns,
    Subject(&'a str),
}

impl<'a> Key<'a> {
    /// A certificate's values under the key.
    pub(super) fn values_in(self, identity: &'a Identity) -> impl Iterator<Item = &'a str> {
        let (one, subject) = match self {
            Key::Spiffe => (identity.uri(), None),
            Key::Dns => (identity.dns_name(), None),
            Key::Subject(key) => (None, identity.subject.as_ref().map(|subject| subject.values(key))),
        };
        one.into_iter().chain(subject.into_iter().flatten())
    }

    /// Whether a certificate may have several values under the key.
    fn repeats(self) -> bool {
        matches!(self, Key::Subject(_))
    }

    fn is_same(self, other: Key<'_>) -> bool {
        match (self, other) {
            (Key::Subject(a), Key::Subject(b)) => a.eq_ignore_ascii_case(b),
            _ => self == other,
        }
    }
}

/// A capture that occurs in several patterns must have the same value in all of them. Removes duplicates, and gives the
/// first name that has two values, with both.
pub(super) fn conflict<'a>(captures: &mut Captures<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    sort::in_place(captures);
    captures.dedup();
    captures.windows(2).find_map(|pair| match *pair {
        [(a, one), (b, other)] if a == b => Some((a, one, other)),
        _ => None,
    })
}
