//! Which matches could hold for a certificate, without looking at all of them.
//!
//! Every match is filed under one thing that a certificate must show for it: its fingerprint, a value without
//! wildcards, or else what a value starts or ends with; whichever the fewest matches share. Finding the candidates takes one look-up
//! per kind of value and, for starts and ends, one per length that is in use: the number of rules counts for nothing.

use std::collections::BTreeMap;

use super::condition::{Condition, Key, Sample};
use crate::identity::Identity;

/// Candidate matches by what a certificate shows.
#[derive(Debug, Default)]
pub(super) struct Index {
    sha256: BTreeMap<[u8; 32], Vec<u32>>,
    spiffe: Values,
    dns: Values,
    subject: BTreeMap<String, Values>,
}

impl Index {
    /// Files matches under their position in `conditions`.
    pub(super) fn new<'a>(conditions: impl Iterator<Item = &'a Condition> + Clone) -> Self {
        let mut shared: BTreeMap<Anchor<'_>, u32> = BTreeMap::new();
        for anchor in conditions.clone().flat_map(anchors) {
            *shared.entry(anchor).or_default() += 1;
        }
        let mut index = Index::default();
        for (at, condition) in (0_u32..).zip(conditions) {
            let rarest =
                anchors(condition).min_by_key(|anchor| (shared.get(anchor).copied(), anchor.looseness()));
            if let Some(anchor) = rarest {
                index.file(anchor, at);
            }
        }
        index
    }

    /// The positions of all matches that might hold, in order. Every match that holds is among them.
    pub(super) fn candidates(&self, identity: &Identity) -> Vec<u32> {
        self.find(identity.sha256.as_ref(), |key| key.value_in(identity))
    }

    /// The positions of all matches that might hold for whatever `sample` stands for, in order.
    pub(super) fn candidates_for_sample(&self, sample: &Sample<'_>) -> Vec<u32> {
        self.find(sample.sha256.as_ref(), |key| sample.value(key))
    }

    fn find<'a>(&'a self, sha256: Option<&[u8; 32]>, value: impl Fn(Key<'a>) -> Option<&'a str>) -> Vec<u32> {
        let mut found = Vec::new();
        if let Some(positions) = sha256.and_then(|digest| self.sha256.get(digest)) {
            found.extend_from_slice(positions);
        }
        self.spiffe.find(value(Key::Spiffe), &mut found);
        self.dns.find(value(Key::Dns), &mut found);
        for (key, values) in &self.subject {
            values.find(value(Key::Subject(key)), &mut found);
        }
        // Each is filed once, so there are no duplicates.
        found.sort_unstable();
        found
    }

    fn file(&mut self, anchor: Anchor<'_>, at: u32) {
        let (key, text, place): (_, _, fn(&mut Values) -> &mut Texts) = match anchor {
            Anchor::Sha256(digest) => return self.sha256.entry(digest).or_default().push(at),
            Anchor::Exact(key, text) => (key, text, |values| &mut values.exact),
            Anchor::Prefix(key, text) => (key, text, |values| &mut values.prefixes),
            Anchor::Suffix(key, text) => (key, text, |values| &mut values.suffixes),
        };
        let values = match key {
            Key::Spiffe => &mut self.spiffe,
            Key::Dns => &mut self.dns,
            Key::Subject(key) => self.subject.entry(key.to_owned()).or_default(),
        };
        place(values).file(text, at);
    }
}

/// What a certificate must show for a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// The matches that are filed under values of one key.
#[derive(Debug, Default)]
struct Values {
    exact: Texts,
    prefixes: Texts,
    suffixes: Texts,
}

impl Values {
    fn find(&self, value: Option<&str>, found: &mut Vec<u32>) {
        let Some(value) = value else { return };
        self.exact.find(value.len(), Some(value), found);
        for length in self.prefixes.lengths_up_to(value.len()) {
            self.prefixes.find(length, value.get(..length), found);
        }
        for length in self.suffixes.lengths_up_to(value.len()) {
            self.suffixes.find(length, value.get(value.len() - length..), found);
        }
    }
}

/// Texts by length in bytes.
#[derive(Debug, Default)]
struct Texts {
    by_length: BTreeMap<usize, BTreeMap<String, Vec<u32>>>,
}

impl Texts {
    fn file(&mut self, text: &str, at: u32) {
        let texts = self.by_length.entry(text.len()).or_default();
        match texts.get_mut(text) {
            Some(positions) => positions.push(at),
            None => {
                texts.insert(text.to_owned(), vec![at]);
            }
        }
    }

    fn lengths_up_to(&self, longest: usize) -> impl Iterator<Item = usize> {
        self.by_length.range(..=longest).map(|(length, _)| *length)
    }

    /// `text` is `None` where a length cuts a character in two: then nothing is filed under it.
    fn find(&self, length: usize, text: Option<&str>, found: &mut Vec<u32>) {
        let positions = text.and_then(|text| self.by_length.get(&length)?.get(text));
        found.extend_from_slice(positions.map(Vec::as_slice).unwrap_or_default());
    }
}
