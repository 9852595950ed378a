//! How a name differs from a pattern, part by part: labels of a DNS name, segments of a URI.

use super::super::nearest::distance;
use super::super::pattern::{Pattern, Reading, Separator};
use super::excerpt::excerpt;

/// What a part too many or too few counts.
const PART: usize = 12;
/// What another text in a part counts, at least; and at most twice that.
const OTHER: usize = 10;
/// Longer names are not compared part by part.
const MAX_PARTS: usize = 64;
/// Differences that are told one by one.
const TOLD: usize = 3;

/// How the two differ.
pub(super) struct Compared {
    differences: Vec<Difference>,
    pub(super) distance: usize,
    /// Whether more is the same than not.
    pub(super) related: bool,
}

/// One part.
#[derive(Clone)]
enum Difference {
    /// The name has `found` where the pattern has `wanted`; `position` is the part's number.
    Other { position: usize, wanted: String, found: String },
    /// The name has this more.
    More(String),
    /// The name lacks this.
    Less(String),
}

/// Compares them with as few differences as there can be (Wagner and Fischer).
pub(super) fn compare(pattern: &Pattern, name: &str) -> Compared {
    let separator = pattern.separator();
    let wanted = pattern.segments();
    let found: Vec<&str> = name.split(|character: char| separator.ends_char(character)).collect();
    if wanted.len() > MAX_PARTS || found.len() > MAX_PARTS {
        return Compared { differences: Vec::new(), distance: usize::MAX / 4, related: false };
    }
    // For the parts of the pattern so far, by how many parts of the name: distance and differences.
    let mut row: Vec<(usize, Vec<Difference>)> = vec![(0, Vec::new())];
    for part in &found {
        let (cost, mut differences) = row.last().cloned().unwrap_or_default();
        differences.push(Difference::More((*part).to_owned()));
        row.push((cost + PART, differences));
    }
    for (position, want) in wanted.iter().enumerate() {
        let mut next: Vec<(usize, Vec<Difference>)> = Vec::with_capacity(row.len());
        let (cost, differences) = row.first().cloned().unwrap_or_default();
        next.push(with(cost + PART, &differences, Difference::Less(want.to_string())));
        for (at, part) in found.iter().enumerate() {
            let empty = (usize::MAX / 2, Vec::new());
            let [diagonal, above] = [row.get(at), row.get(at + 1)].map(|it| it.unwrap_or(&empty));
            let left = next.last().unwrap_or(&empty);
            let mut best = if matches(want, part) {
                // What is written out is worth more than what anything would match.
                (diagonal.0 + usize::from(want.exact().is_none() && !want.is_empty()), diagonal.1.clone())
            } else {
                let other =
                    Difference::Other { position, wanted: want.to_string(), found: (*part).to_owned() };
                with(diagonal.0 + OTHER + unlike(want, part), &diagonal.1, other)
            };
            // `**` takes any number of parts.
            if want.is_deep() && left.0 < best.0 && at > 0 {
                best = left.clone();
            }
            if left.0 + PART < best.0 {
                best = with(left.0 + PART, &left.1, Difference::More((*part).to_owned()));
            }
            if above.0 + PART < best.0 {
                best = with(above.0 + PART, &above.1, Difference::Less(want.to_string()));
            }
            next.push(best);
        }
        row = next;
    }
    let (distance, differences) = row.pop().unwrap_or_default();
    // A URI's scheme and the nothing behind it are the same in all of them.
    let trivial = if separator == Separator::Uri { 2 } else { 0 };
    let parts = wanted.len().max(found.len()).saturating_sub(trivial);
    let typo =
        matches!(differences.as_slice(), [Difference::Other { wanted, found, .. }] if is_typo(wanted, found));
    let related = typo || differences.len() * 2 <= parts;
    Compared { differences, distance, related }
}

fn with(cost: usize, differences: &[Difference], one_more: Difference) -> (usize, Vec<Difference>) {
    (cost, differences.iter().cloned().chain([one_more]).collect())
}

fn matches(want: &Pattern, part: &str) -> bool {
    if want.is_empty() { part.is_empty() } else { want.matches(part, Reading::Any, &mut Vec::new()) }
}

/// From 0 for the same text to [`OTHER`].
fn unlike(want: &Pattern, part: &str) -> usize {
    let text = want.to_string();
    let longest = text.len().max(part.len()).max(1);
    // A whole certificate's text would take too long for what it says.
    if longest > 256 { OTHER } else { OTHER * distance(&text, part) / longest }
}

fn is_typo(wanted: &str, found: &str) -> bool {
    found.len() <= 256 && wanted.len() >= 3 && distance(wanted, found) <= wanted.len() / 3
}

impl Compared {
    /// In words.
    pub(super) fn difference(&self, is_uri: bool) -> String {
        if self.differences.is_empty() || self.differences.len() > TOLD {
            return "the rule is for other names".to_owned();
        }
        let told: Vec<String> = self.differences.iter().map(|it| it.told(is_uri)).collect();
        told.join(", and ")
    }

    /// What to change.
    pub(super) fn hint(&self, separator: Separator) -> String {
        let sign = if separator == Separator::Uri { '/' } else { '.' };
        match self.differences.as_slice() {
            [Difference::Other { position: 2, .. }] if separator == Separator::Uri => {
                "if both are yours, give the rule a list of matches, one for each".to_owned()
            }
            [Difference::Other { .. }] => {
                "write `*` there if it may be anything, or issue the certificate as the rule has it"
                    .to_owned()
            }
            [Difference::More(part)] if part.is_empty() => {
                format!(
                    "issue the certificate without the `{sign}` that nothing follows, or write it in the rule"
                )
            }
            [Difference::More(_)] => {
                format!(
                    "add `*` and a `{sign}` there for one part more, or write `**` for any number of parts"
                )
            }
            [Difference::Less(_)] => "take it out of the rule, or issue the certificate with it".to_owned(),
            _ => "write another match for it, or issue the certificate as the rule has it".to_owned(),
        }
    }
}

impl Difference {
    fn told(&self, is_uri: bool) -> String {
        match self {
            Difference::Other { position: 2, wanted, found } if is_uri => {
                format!("the trust domain `{}` is not the rule's `{wanted}`", excerpt(found))
            }
            Difference::Other { wanted, found, .. } => {
                format!("the rule has `{wanted}` where it has `{}`", excerpt(found))
            }
            Difference::More(part) if part.is_empty() => {
                "it has an empty part that the rule has not".to_owned()
            }
            Difference::More(part) => format!("it has the part `{}` more than the rule", excerpt(part)),
            Difference::Less(part) => format!("it lacks the rule's part `{part}`"),
        }
    }
}
