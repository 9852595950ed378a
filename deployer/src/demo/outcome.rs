//! What became of the demo: only what was measured, and whether it is what was to be expected.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sink::Attributes;
use crate::probe::{Answer, Fate};

/// What became of the demo.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whether all of it is what was to be expected.
    pub ok: bool,
    /// What became of the clients' spans.
    pub clients: Vec<ClientOutcome>,
    /// What was refused, and how.
    pub refused: Vec<Refusal>,
    /// How many attributes the gate removed, as it counts itself.
    pub forged_attributes_removed: u64,
    /// How many attributes there were to be removed.
    #[serde(skip)]
    pub forged: u64,
}

/// What became of a client's spans.
#[derive(Debug, Serialize)]
pub struct ClientOutcome {
    /// Its name as the gate knows it.
    pub name: String,
    /// What its certificate says.
    pub identity: String,
    /// Spans that it sent.
    pub sent: usize,
    /// Spans that it was told are accepted.
    pub accepted: usize,
    /// Spans that it was told are refused.
    pub rejected: usize,
    /// The Resource as it arrived at the backend.
    pub attributes: BTreeMap<String, String>,
    /// The Resource as the client wrote it.
    #[serde(skip)]
    pub written: BTreeMap<String, String>,
    /// Whether as much arrived as was accepted, all of it stamped as the policy says.
    #[serde(skip)]
    pub ok: bool,
}

/// Something that was refused.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// Who tried what.
    pub case: String,
    /// How it should be refused.
    pub expected: String,
    /// How it was refused, and with which words.
    pub seen: String,
    /// Whether that is the same.
    #[serde(skip)]
    pub ok: bool,
}

impl Outcome {
    pub(super) fn new(clients: Vec<ClientOutcome>, refused: Vec<Refusal>, forged: u64, removed: u64) -> Self {
        let ok = clients.iter().all(|client| client.ok) && refused.iter().all(|refusal| refusal.ok);
        Outcome { ok: ok && removed == forged, clients, refused, forged_attributes_removed: removed, forged }
    }
}

impl Refusal {
    pub(super) fn new(case: impl Into<String>, expected: Fate, seen: &Answer) -> Self {
        Refusal {
            case: case.into(),
            expected: expected.to_string(),
            seen: seen.to_string(),
            ok: seen.fate == expected,
        }
    }
}

/// Whether every Resource that arrived is the same and has these attributes; and what it has.
pub(super) fn common(arrived: &[Attributes], expected: &Attributes) -> (bool, Attributes) {
    let Some(first) = arrived.first() else { return (false, Attributes::new()) };
    let same = arrived.iter().all(|other| other == first);
    (same && first == expected, first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_thing_out_of_order_is_not_ok() {
        let answer = |fate| Answer { fate, words: "words".to_owned() };
        let refusal = |seen| Refusal::new("case", Fate::NoConnection, &answer(seen));
        let good = || vec![refusal(Fate::NoConnection)];
        assert!(Outcome::new(Vec::new(), good(), 2, 2).ok);
        assert!(!Outcome::new(Vec::new(), good(), 2, 1).ok);
        assert!(!Outcome::new(Vec::new(), vec![refusal(Fate::Accepted)], 2, 2).ok);
    }

    #[test]
    fn resources_must_all_be_what_was_expected() {
        let (a, b) = (attributes(&[("tenant.id", "acme")]), attributes(&[("tenant.id", "forged")]));
        assert!(common(&[a.clone(), a.clone()], &a).0);
        assert!(!common(&[a.clone(), b.clone()], &a).0);
        assert!(!common(&[b.clone(), b], &a).0);
        assert!(!common(&[], &a).0);
    }
}
