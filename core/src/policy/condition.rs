//! What one match of a rule asks of a certificate.

use super::pattern::{Pattern, Reading};
use crate::identity::Identity;
use crate::sort;

/// Captured words and their values, each word once.
pub(super) type Captures<'a> = Vec<(&'a str, &'a str)>;

/// One match of a rule, compiled. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) spiffe: Option<Pattern>,
    pub(super) dns: Option<Pattern>,
    /// A key with several patterns is here several times, always spelled the same.
    pub(super) subject: Vec<(String, Pattern)>,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Condition {
    /// What it captures from this identity, where it holds.
    pub(super) fn holds<'a>(&'a self, identity: &'a Identity) -> Option<Captures<'a>> {
        if !self.has_fingerprint(identity) {
            return None;
        }
        let mut captures = Vec::new();
        let all = self.outcomes(identity, &mut captures).all(|outcome| outcome.value.is_some());
        (all && conflict(&mut captures).is_none()).then_some(captures)
    }

    /// Whether the certificate has the fingerprint that is asked for, if one is.
    pub(super) fn has_fingerprint(&self, identity: &Identity) -> bool {
        self.sha256.is_none_or(|digest| identity.has_fingerprint(&digest))
    }

    /// Matches its patterns, in order. Each that holds appends what it captures.
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

    /// The value for which one of its patterns holds; what it captures is appended.
    ///
    /// A key may have several values, of which one must match. Where several match and say different things, whoever put them there
    /// could choose between clients, so the pattern does not hold. A value that one of the key's patterns is word for word counts
    /// for that pattern only.
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
            if self.leaves(key, pattern, value) || !pattern.matches(value, Reading::Strict, captures) {
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

    /// Whether a value is another pattern's of the same key.
    pub(super) fn leaves(&self, key: Key<'_>, pattern: &Pattern, value: &str) -> bool {
        let Key::Subject(key) = key else { return false };
        pattern.exact().is_none()
            && self.subject.iter().any(|(other, pattern)| other == key && pattern.exact() == Some(value))
    }

    /// Whether it holds for everything that the sampled match holds for, or with [`Values::One`] at least for all of it that
    /// has no key of the subject twice. May say no where it is so.
    pub(super) fn covers(&self, sample: &Sample<'_>, values: Values) -> bool {
        if self.sha256.is_some() && self.sha256 != sample.condition.sha256 {
            return false;
        }
        let mut captures = Vec::new();
        let matches = self.patterns().all(|(key, pattern)| {
            let only = values == Values::One && sample.of(key).nth(1).is_none();
            let certain = only || !key.repeats() || pattern.captures().next().is_none();
            let found = sample.of(key).any(|(_, value)| {
                !self.leaves(key, pattern, value) && pattern.matches(value, Reading::Sample, &mut captures)
            });
            // Of other values a sample tells nothing: they may match as well and capture something else, unless that would keep
            // the sampled match from holding, too.
            found && (certain || self.captures_like(key, pattern, sample))
        });
        // Whether two values are the same, samples cannot tell.
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

    /// What stands for everything that it holds for.
    pub(super) fn sample(&self) -> Sample<'_> {
        let values = self.patterns().map(|(key, pattern)| (key, pattern, pattern.sample())).collect();
        Sample { condition: self, values }
    }

    /// Every pattern with its key in the config.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (Key<'_>, &Pattern)> {
        let spiffe = self.spiffe.iter().map(|pattern| (Key::Spiffe, pattern));
        let dns = self.dns.iter().map(|pattern| (Key::Dns, pattern));
        let subject = self.subject.iter().map(|(key, pattern)| (Key::Subject(key), pattern));
        spiffe.chain(dns).chain(subject)
    }
}

/// Whether one pattern of a match holds.
pub(super) struct Outcome<'a> {
    pub(super) key: Key<'a>,
    pub(super) pattern: &'a Pattern,
    /// The value of the certificate for which it holds; `None` where it does not hold.
    pub(super) value: Option<&'a str>,
}

/// Of which certificates something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Those that have every key of the subject at most once.
    One,
    /// All.
    Any,
}

/// What stands for everything that a match holds for; see [`Pattern::sample`].
pub(super) struct Sample<'a> {
    condition: &'a Condition,
    values: Vec<(Key<'a>, &'a Pattern, String)>,
}

impl Sample<'_> {
    pub(super) fn sha256(&self) -> Option<[u8; 32]> {
        self.condition.sha256
    }

    /// What a certificate has there, at least.
    pub(super) fn values(&self, key: Key<'_>) -> impl Iterator<Item = &str> {
        self.of(key).map(|(_, value)| value)
    }

    fn of(&self, key: Key<'_>) -> impl Iterator<Item = (&Pattern, &str)> {
        let values = self.values.iter().filter(move |(own, ..)| own.is_same(key));
        values.map(|(_, pattern, value)| (*pattern, value.as_str()))
    }
}

/// A part of a certificate that patterns are matched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    Spiffe,
    Dns,
    Subject(&'a str),
}

impl<'a> Key<'a> {
    /// What a certificate has there.
    pub(super) fn values_in(self, identity: &'a Identity) -> impl Iterator<Item = &'a str> {
        let (one, subject) = match self {
            Key::Spiffe => (identity.spiffe.as_deref(), None),
            Key::Dns => (identity.dns.as_deref(), None),
            Key::Subject(key) => (None, identity.subject.as_ref().map(|subject| subject.values(key))),
        };
        one.into_iter().chain(subject.into_iter().flatten())
    }

    /// Whether a certificate may have several values there that all count.
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

/// A word that several patterns of one match capture must have the same value in all of them; it is kept once. Gives the first word
/// that has two values, and both.
pub(super) fn conflict<'a>(captures: &mut Captures<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    sort::in_place(captures);
    captures.dedup();
    captures.windows(2).find_map(|pair| match *pair {
        [(a, one), (b, other)] if a == b => Some((a, one, other)),
        _ => None,
    })
}
