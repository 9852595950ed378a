//! Which matches could hold for a certificate, without looking at all of them.
//!
//! Every match is filed under one thing that a certificate must show for it: its fingerprint, a value without
//! wildcards, or else what a value starts or ends with; whichever the fewest matches share. Finding the candidates takes one look-up
//! per kind of value and, for starts and ends, one per length that is in use: the number of rules counts for nothing.

use std::collections::BTreeSet;

use super::condition::{Condition, Key, Sample};
use super::hash_index::HashIndex;
use crate::identity::Identity;
use crate::sort;

/// Candidate matches by what a certificate shows.
#[derive(Debug, Default)]
pub(super) struct Index {
    filed: HashIndex,
    /// The keys of subjects that something is filed under.
    subject_keys: BTreeSet<String>,
    /// How long, in bytes, the starts and ends are that something is filed under.
    prefixes: BTreeSet<usize>,
    suffixes: BTreeSet<usize>,
}

impl Index {
    /// Files matches under their position in `conditions`.
    pub(super) fn new<'a>(conditions: impl Iterator<Item = &'a Condition> + Clone) -> Self {
        // Where there is no choice, there is nothing to compare.
        let with_choice = conditions.clone().filter(|condition| anchors(condition).nth(1).is_some());
        let shared = HashIndex::new(with_choice.flat_map(anchors).map(|anchor| (anchor, 0)));
        let mut index = Index::default();
        let mut filed = Vec::new();
        for (at, condition) in (0_u32..).zip(conditions) {
            let rarest = anchors(condition).min_by_key(|anchor| (shared.count(anchor), anchor.looseness()));
            if let Some(anchor) = rarest {
                index.note(anchor);
                filed.push((anchor, at));
            }
        }
        index.filed = HashIndex::new(filed.into_iter());
        index
    }

    /// The positions of all matches that might hold, in order. Every match that holds is among them.
    pub(super) fn candidates(&self, identity: &Identity) -> Vec<u32> {
        self.find(identity.fingerprints(), |key| key.values_in(identity))
    }

    /// The positions of all matches that might hold for whatever `sample` stands for, in order.
    pub(super) fn candidates_for_sample(&self, sample: &Sample<'_>) -> Vec<u32> {
        self.find(sample.sha256().into_iter(), |key| sample.values(key))
    }

    fn find<'a, V: Iterator<Item = &'a str>>(
        &'a self,
        fingerprints: impl Iterator<Item = [u8; 32]>,
        values: impl Fn(Key<'a>) -> V,
    ) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        found.extend(fingerprints.flat_map(|digest| self.filed.get(Anchor::Sha256(digest))));
        let subject_keys = self.subject_keys.iter().map(|key| Key::Subject(key));
        for key in [Key::Spiffe, Key::Dns].into_iter().chain(subject_keys) {
            for value in values(key) {
                found.extend(self.filed.get(Anchor::Exact(key, value)));
                for length in self.prefixes.range(..=value.len()) {
                    let prefix = value.get(..*length).map(|prefix| Anchor::Prefix(key, prefix));
                    found.extend(prefix.into_iter().flat_map(|anchor| self.filed.get(anchor)));
                }
                for length in self.suffixes.range(..=value.len()) {
                    let suffix = value.get(value.len() - length..).map(|suffix| Anchor::Suffix(key, suffix));
                    found.extend(suffix.into_iter().flat_map(|anchor| self.filed.get(anchor)));
                }
            }
        }
        // Each is filed once, but found by each value, and under a hash that another may have too.
        sort::in_place(&mut found);
        found.dedup();
        found
    }

    fn note(&mut self, anchor: Anchor<'_>) {
        let key = match anchor {
            Anchor::Sha256(_) => return,
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
        if let Key::Subject(key) = key
            && !self.subject_keys.contains(key)
        {
            self.subject_keys.insert(key.to_owned());
        }
    }
}

/// What a certificate must show for a match.
#[derive(Debug, Clone, Copy, Hash)]
enum Anchor<'a> {
    Sha256([u8; 32]),
    Exact(Key<'a>, &'a str),
    Prefix(Key<'a>, &'a str),
    Suffix(Key<'a>, &'a str),
}

impl Anchor<'_> {
    /// Of anchors that as many matches share, which to take: the smallest.
    fn looseness(&self) -> usize {
        match self {
            Anchor::Sha256(_) | Anchor::Exact(..) => 0,
            Anchor::Prefix(_, text) | Anchor::Suffix(_, text) => usize::MAX - text.len(),
        }
    }
}

fn anchors(condition: &Condition) -> impl Iterator<Item = Anchor<'_>> {
    let patterns = condition.patterns().flat_map(|(key, pattern)| match pattern.exact() {
        Some(text) => [Some(Anchor::Exact(key, text)), None],
        None => [Some(Anchor::Prefix(key, pattern.prefix())), Some(Anchor::Suffix(key, pattern.suffix()))],
    });
    condition.sha256.map(Anchor::Sha256).into_iter().chain(patterns.flatten())
}
