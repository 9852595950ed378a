//! An index of matches: finds those that may match a certificate without trying all of them.
//!
//! Every match is indexed by one anchor, which a certificate must have for it: the fingerprint, the CA that signed it
//! or another [`Fact`], a value without wildcards, or the start or end of a value; of several anchors, the one that the
//! fewest matches share. So no match has to be tried with every certificate. Finding candidates takes one look-up per
//! fact and value of the certificate, and one more per length that occurs of networks, and of starts and ends. It does
//! not depend on the number of rules.

use std::collections::BTreeSet;

use super::condition::{Condition, Key, Sample};
use super::fact::Fact;
use super::hash_index::HashIndex;
use crate::identity::Identity;
use crate::sort;

/// Matches by their anchors.
#[derive(Debug, Default)]
pub(super) struct Index {
    positions: HashIndex,
    /// The keys of subjects and of issuers that anchors have.
    subject_keys: BTreeSet<String>,
    issuer_keys: BTreeSet<String>,
    /// The lengths of anchors that are starts and ends, in bytes.
    prefixes: BTreeSet<usize>,
    suffixes: BTreeSet<usize>,
    /// The lengths of anchors that are networks, in bits.
    networks: BTreeSet<u8>,
}

impl Index {
    /// Indexes matches; positions are those in `conditions`.
    pub(super) fn new<'a>(conditions: impl Iterator<Item = &'a Condition> + Clone) -> Self {
        // Only matches with several anchors need the counts.
        let with_choice = conditions.clone().filter(|condition| anchors(condition).nth(1).is_some());
        let shared = HashIndex::new(with_choice.flat_map(anchors).map(|anchor| (anchor, 0)));
        let mut index = Index::default();
        let mut anchored = Vec::new();
        for (at, condition) in (0_u32..).zip(conditions) {
            let rarest = anchors(condition).min_by_key(|anchor| (shared.count(anchor), anchor.looseness()));
            if let Some(anchor) = rarest {
                index.note(anchor);
                anchored.push((anchor, at));
            }
        }
        index.positions = HashIndex::new(anchored.into_iter());
        index
    }

    /// The positions of all matches that may match a certificate, in order. All that match are among them.
    pub(super) fn candidates(&self, identity: &Identity) -> Vec<u32> {
        self.find(Fact::all_of(identity), |key| key.values_in(identity))
    }

    /// The positions of all matches that may match what `sample` stands for, in order.
    pub(super) fn candidates_for_sample(&self, sample: &Sample<'_>) -> Vec<u32> {
        self.find(sample.facts(), |key| sample.values(key))
    }

    fn find<'a, V: Iterator<Item = &'a str>>(
        &'a self,
        facts: impl Iterator<Item = Fact<'a>>,
        values: impl Fn(Key<'a>) -> V,
    ) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for fact in facts {
            match fact {
                Fact::Ip(network) => {
                    for bits in self.networks.range(..=network.bits()) {
                        found.extend(self.positions.get(Anchor::Fact(Fact::Ip(network.wider(*bits)))));
                    }
                }
                _ => found.extend(self.positions.get(Anchor::Fact(fact))),
            }
        }
        let subject_keys = self.subject_keys.iter().map(|key| Key::Subject(key));
        let issuer_keys = self.issuer_keys.iter().map(|key| Key::Issuer(key));
        let keys = [Key::Spiffe, Key::Dns, Key::Email].into_iter().chain(subject_keys).chain(issuer_keys);
        for key in keys {
            for value in values(key) {
                found.extend(self.positions.get(Anchor::Exact(key, value)));
                for length in self.prefixes.range(..=value.len()) {
                    let prefix = value.get(..*length).map(|prefix| Anchor::Prefix(key, prefix));
                    found.extend(prefix.into_iter().flat_map(|anchor| self.positions.get(anchor)));
                }
                for length in self.suffixes.range(..=value.len()) {
                    let suffix = value.get(value.len() - length..).map(|suffix| Anchor::Suffix(key, suffix));
                    found.extend(suffix.into_iter().flat_map(|anchor| self.positions.get(anchor)));
                }
            }
        }
        // A match may be found by several values, and by hashes that collide.
        sort::in_place(&mut found);
        found.dedup();
        found
    }

    fn note(&mut self, anchor: Anchor<'_>) {
        let key = match anchor {
            Anchor::Fact(fact) => {
                if let Fact::Ip(network) = fact {
                    self.networks.insert(network.bits());
                }
                return;
            }
            Anchor::Exact(key, _) => key,
            Anchor::Prefix(key, text) => {
                self.prefixes.insert(text.len());
                key
            }
            Anchor::Suffix(key, text) => {
                self.suffixes.insert(text.len());
                key
            }
        };
        let (keys, key) = match key {
            Key::Subject(key) => (&mut self.subject_keys, key),
            Key::Issuer(key) => (&mut self.issuer_keys, key),
            Key::Spiffe | Key::Dns | Key::Email => return,
        };
        if !keys.contains(key) {
            keys.insert(key.to_owned());
        }
    }
}

/// A fact, a value, or the start or end of a value, that a certificate must have for a match.
#[derive(Debug, Clone, Copy, Hash)]
enum Anchor<'a> {
    Fact(Fact<'a>),
    Exact(Key<'a>, &'a str),
    Prefix(Key<'a>, &'a str),
    Suffix(Key<'a>, &'a str),
}

impl Anchor<'_> {
    /// Of anchors that equally many matches share, the one with the smallest looseness is used.
    fn looseness(&self) -> usize {
        match self {
            Anchor::Fact(Fact::Sha256(_)) => 0,
            // All certificates of a CA may have the same issuer.
            Anchor::Exact(Key::Issuer(_), _) | Anchor::Fact(_) => usize::MAX,
            Anchor::Exact(..) => 0,
            Anchor::Prefix(_, text) | Anchor::Suffix(_, text) => usize::MAX - text.len(),
        }
    }
}

fn anchors(condition: &Condition) -> impl Iterator<Item = Anchor<'_>> {
    let patterns = condition.patterns().flat_map(|(key, pattern)| match pattern.exact() {
        Some(text) => [Some(Anchor::Exact(key, text)), None],
        None => [Some(Anchor::Prefix(key, pattern.prefix())), Some(Anchor::Suffix(key, pattern.suffix()))],
    });
    condition.facts().map(Anchor::Fact).chain(patterns.flatten())
}
