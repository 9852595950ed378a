//! What one match of a rule asks of a certificate.

use super::pattern::{Pattern, Reading};
use crate::identity::Identity;
use crate::order;

/// Captured words and their values, each word once.
pub(super) type Captures<'a> = Vec<(&'a str, &'a str)>;

/// One match of a rule, compiled. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) spiffe: Option<Pattern>,
    pub(super) dns: Option<Pattern>,
    pub(super) subject: Vec<(String, Pattern)>,
    pub(super) sha256: Option<[u8; 32]>,
}

impl Condition {
    /// What it captures from this identity, where it holds.
    pub(super) fn holds<'a>(&'a self, identity: &'a Identity, reading: Reading) -> Option<Captures<'a>> {
        if self.sha256.is_some_and(|digest| !identity.has_fingerprint(&digest)) {
            return None;
        }
        let mut captures = Vec::new();
        for (_, pattern, value) in self.patterns_on(identity) {
            if !pattern.matches(value?, reading, &mut captures) {
                return None;
            }
        }
        same_words_have_same_values(&mut captures).then_some(captures)
    }

    /// Whether it holds for everything that the sampled match holds for. May say no where it is so.
    pub(super) fn covers(&self, sample: &Sample<'_>) -> bool {
        if self.sha256.is_some() && self.sha256 != sample.sha256 {
            return false;
        }
        let mut captures = Vec::new();
        let matches = self.patterns().all(|(key, pattern)| {
            sample.value(key).is_some_and(|value| pattern.matches(value, Reading::Sample, &mut captures))
        });
        // Whether two values are the same, samples cannot tell.
        order::sort(&mut captures);
        matches && captures.windows(2).all(|pair| !matches!(pair, [(a, _), (b, _)] if a == b))
    }

    /// What stands for everything that it holds for.
    pub(super) fn sample(&self) -> Sample<'_> {
        let values = self.patterns().map(|(key, pattern)| (key, pattern.sample())).collect();
        Sample { sha256: self.sha256, values }
    }

    /// Every pattern with its key in the config and what the certificate has there.
    pub(super) fn patterns_on<'a>(
        &'a self,
        identity: &'a Identity,
    ) -> impl Iterator<Item = (Key<'a>, &'a Pattern, Option<&'a str>)> {
        self.patterns().map(|(key, pattern)| (key, pattern, key.value_in(identity)))
    }

    /// Every pattern with its key in the config.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (Key<'_>, &Pattern)> {
        let spiffe = self.spiffe.iter().map(|pattern| (Key::Spiffe, pattern));
        let dns = self.dns.iter().map(|pattern| (Key::Dns, pattern));
        let subject = self.subject.iter().map(|(key, pattern)| (Key::Subject(key), pattern));
        spiffe.chain(dns).chain(subject)
    }
}

/// What stands for everything that a match holds for; see [`Pattern::sample`].
pub(super) struct Sample<'a> {
    pub(super) sha256: Option<[u8; 32]>,
    values: Vec<(Key<'a>, String)>,
}

impl Sample<'_> {
    pub(super) fn value(&self, key: Key<'_>) -> Option<&str> {
        self.values.iter().find(|(own, _)| own.is_same(key)).map(|(_, value)| value.as_str())
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
    pub(super) fn value_in(self, identity: &'a Identity) -> Option<&'a str> {
        match self {
            Key::Spiffe => identity.spiffe.as_deref(),
            Key::Dns => identity.dns.as_deref(),
            Key::Subject(key) => identity.subject.as_ref()?.get(key),
        }
    }

    fn is_same(self, other: Key<'_>) -> bool {
        match (self, other) {
            (Key::Subject(a), Key::Subject(b)) => a.eq_ignore_ascii_case(b),
            _ => self == other,
        }
    }
}

/// A word that several patterns of one match capture must be the same in all of them; it is kept once.
fn same_words_have_same_values(captures: &mut Captures<'_>) -> bool {
    order::sort(captures);
    captures.dedup();
    captures.windows(2).all(|pair| !matches!(pair, [(a, _), (b, _)] if a == b))
}
