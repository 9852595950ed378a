//! One match of a rule, compiled.

use core::fmt;
use std::rc::Rc;

use super::fact::Fact;
use super::network::Network;
use super::pattern::{Pattern, Reading};
use super::problem::ConfigPath;
use crate::identity::{Identity, Subject};
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
    /// The name of a client CA.
    pub(super) ca: Option<Rc<str>>,
    pub(super) sha256: Option<[u8; 32]>,
    /// `None` if it has none of these.
    pub(super) rare: Option<Box<Rare>>,
}

/// Parts that few matches have. They are boxed, because there may be a hundred thousand matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Rare {
    pub(super) email: Option<Pattern>,
    pub(super) ip: Option<Network>,
    /// By key, as `subject`.
    pub(super) issuer: Vec<(String, Pattern)>,
    pub(super) issuer_key_id: Option<Vec<u8>>,
    pub(super) issuer_key: Option<[u8; 32]>,
    /// Dotted OIDs, sorted, each once.
    pub(super) usages: Vec<String>,
}

impl Condition {
    /// Whether it requires the key that signed a certificate.
    pub(super) fn has_issuer_key(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.issuer_key.is_some())
    }

    /// The captures from a certificate, if the condition holds.
    pub(super) fn holds<'a>(&'a self, identity: &'a Identity) -> Option<Captures<'a>> {
        if !self.facts().all(|fact| fact.is_of(identity)) {
            return None;
        }
        let mut captures = Vec::new();
        let all = self.outcomes(identity, &mut captures).all(|outcome| outcome.value.is_some());
        (all && conflict(&mut captures).is_none()).then_some(captures)
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

    /// The first value that one of its patterns matches; the captures are appended.
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
        let (list, key) = match key {
            Key::Subject(key) => (self.subject.as_slice(), key),
            Key::Issuer(key) => (self.issuer(), key),
            Key::Spiffe | Key::Dns | Key::Email => return false,
        };
        pattern.exact().is_none()
            && list.iter().any(|(other, pattern)| other == key && pattern.exact() == Some(value))
    }

    /// The pattern for names of this kind, if there is one.
    pub(super) fn pattern_of(&self, key: Key<'_>) -> Option<&Pattern> {
        self.patterns().find(|(own, _)| *own == key).map(|(_, pattern)| pattern)
    }

    /// Whether it holds for all certificates for which the sampled condition holds; with [`Values::One`], for those
    /// that have no key twice. May be false although it does.
    pub(super) fn covers(&self, sample: &Sample<'_>, values: Values) -> bool {
        let has = |fact: Fact<'_>| sample.condition.facts().any(|other| fact.covers(other));
        if !self.facts().all(has) {
            return false;
        }
        let mut captures = Vec::new();
        let matches = self.patterns().all(|(key, pattern)| {
            let only = values == Values::One && sample.of(key).nth(1).is_none();
            let certain = only || pattern.captures().next().is_none();
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
        let email = self.rare.iter().filter_map(|rare| Some((Key::Email, rare.email.as_ref()?)));
        let subject = self.subject.iter().map(|(key, pattern)| (Key::Subject(key), pattern));
        let issuer = self.issuer().iter().map(|(key, pattern)| (Key::Issuer(key), pattern));
        spiffe.chain(dns).chain(email).chain(subject).chain(issuer)
    }

    /// What it requires besides patterns.
    pub(super) fn facts(&self) -> impl Iterator<Item = Fact<'_>> {
        let ca = self.ca.as_deref().map(Fact::Ca);
        let sha256 = self.sha256.map(Fact::Sha256);
        let rare = self.rare.iter().flat_map(|rare| {
            let ip = rare.ip.map(Fact::Ip);
            let key_id = rare.issuer_key_id.as_deref().map(Fact::IssuerKeyId);
            let key = rare.issuer_key.map(Fact::IssuerKey);
            let usages = rare.usages.iter().map(|usage| Fact::Usage(usage));
            ip.into_iter().chain(key_id).chain(key).chain(usages)
        });
        sha256.into_iter().chain(ca).chain(rare)
    }

    fn issuer(&self) -> &[(String, Pattern)] {
        self.rare.as_ref().map(|rare| rare.issuer.as_slice()).unwrap_or_default()
    }
}

/// Whether one pattern matches.
pub(super) struct Outcome<'a> {
    pub(super) key: Key<'a>,
    pub(super) pattern: &'a Pattern,
    /// The first value of the certificate that it matches; `None` if there is none.
    pub(super) value: Option<&'a str>,
}

/// Which certificates are considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Those that have one value of each key.
    One,
    /// All.
    Any,
}

/// Values that stand for all certificates for which a condition holds, see [`Pattern::sample`].
pub(super) struct Sample<'a> {
    condition: &'a Condition,
    values: Vec<(Key<'a>, &'a Pattern, String)>,
}

impl<'a> Sample<'a> {
    /// What such a certificate has besides the values of patterns.
    pub(super) fn facts(&self) -> impl Iterator<Item = Fact<'a>> {
        self.condition.facts()
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
    Email,
    Subject(&'a str),
    /// A key of the issuer's name.
    Issuer(&'a str),
}

impl<'a> Key<'a> {
    /// A certificate's values under the key, in its order.
    pub(super) fn values_in(self, identity: &'a Identity) -> impl Iterator<Item = &'a str> {
        let (names, distinguished): (&[String], Option<(&Subject, &str)>) = match self {
            Key::Spiffe => (&identity.uris, None),
            Key::Dns => (&identity.dns, None),
            Key::Email => (&identity.emails, None),
            Key::Subject(key) => (&[], identity.subject.as_ref().map(|subject| (subject, key))),
            Key::Issuer(key) => (&[], identity.issuer().map(|issuer| (issuer, key))),
        };
        let values = distinguished.map(|(name, key)| name.values(key));
        names.iter().map(String::as_str).chain(values.into_iter().flatten())
    }

    fn is_same(self, other: Key<'_>) -> bool {
        match (self, other) {
            (Key::Subject(a), Key::Subject(b)) | (Key::Issuer(a), Key::Issuer(b)) => {
                a.eq_ignore_ascii_case(b)
            }
            _ => self == other,
        }
    }

    /// Its place in the config, in the match at `path`.
    pub(super) fn place(self, path: &ConfigPath) -> ConfigPath {
        match self {
            Key::Spiffe => path.key("spiffe"),
            Key::Dns => path.key("dns"),
            Key::Email => path.key("email"),
            Key::Subject(key) => path.key("subject").key(key),
            Key::Issuer(key) => path.key("issuer").key("subject").key(key),
        }
    }
}

/// As in `whoami`: `subject.CN`.
impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Spiffe => f.write_str("spiffe"),
            Key::Dns => f.write_str("dns"),
            Key::Email => f.write_str("email"),
            Key::Subject(key) => write!(f, "subject.{key}"),
            Key::Issuer(key) => write!(f, "issuer.subject.{key}"),
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
