//! How a value differs from a pattern, segment by segment: labels of a DNS name, parts of a URI.

use super::super::nearest::distance;
use super::super::pattern::{Pattern, Reading, Separator};
use super::excerpt::excerpt;

/// The distance of an additional or missing segment.
const PART: usize = 12;
/// The distance of a different segment: at least this, at most twice as much.
const OTHER: usize = 10;
/// Values with more segments are not compared.
const MAX_PARTS: usize = 64;
/// The most differences that are listed.
const LISTED: usize = 3;

/// How a value differs from a pattern.
pub(super) struct Compared {
    differences: Vec<Difference>,
    pub(super) distance: usize,
    /// Whether at least half of the segments match, or the only difference is a typo.
    pub(super) related: bool,
}

/// One segment that differs.
#[derive(Clone)]
enum Difference {
    /// The value has `found` where the pattern has `wanted`; `position` is the number of the segment.
    Other { position: usize, wanted: String, found: String },
    /// The value has this additional segment.
    More(String),
    /// The value lacks this segment.
    Less(String),
}

/// Finds the fewest differences (Wagner and Fischer).
pub(super) fn compare(pattern: &Pattern, name: &str) -> Compared {
    let separator = pattern.separator();
    let wanted = pattern.segments();
    let found: Vec<&str> = name.split(|character: char| separator.ends_char(character)).collect();
    if wanted.len() > MAX_PARTS || found.len() > MAX_PARTS {
        return Compared { differences: Vec::new(), distance: usize::MAX / 4, related: false };
    }
    // For the segments of the pattern so far: distance and differences, by the number of segments of the value.
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
                // Literal text counts more than a wildcard.
                (diagonal.0 + usize::from(want.exact().is_none() && !want.is_empty()), diagonal.1.clone())
            } else {
                let other =
                    Difference::Other { position, wanted: want.to_string(), found: (*part).to_owned() };
                with(diagonal.0 + OTHER + unlike(want, part), &diagonal.1, other)
            };
            // `**` matches any number of segments.
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
    // A URI's scheme and the empty segment after it are nearly always the same.
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
    // Long texts take too long to compare.
    if longest > 256 { OTHER } else { OTHER * distance(&text, part) / longest }
}

fn is_typo(wanted: &str, found: &str) -> bool {
    found.len() <= 256 && wanted.len() >= 3 && distance(wanted, found) <= wanted.len() / 3
}

impl Compared {
    /// The differences as text.
    pub(super) fn difference(&self, is_uri: bool) -> String {
        if self.differences.is_empty() || self.differences.len() > LISTED {
            return "the rule matches other names".to_owned();
        }
        let texts: Vec<String> = self.differences.iter().map(|it| it.text(is_uri)).collect();
        texts.join(", and ")
    }

    /// What to change.
    pub(super) fn hint(&self, separator: Separator) -> String {
        let sign = if separator == Separator::Uri { '/' } else { '.' };
        match self.differences.as_slice() {
            [Difference::Other { position: 2, .. }] if separator == Separator::Uri => {
                "if both trust domains are yours, give the rule a list of two matches".to_owned()
            }
            [Difference::Other { .. }] => {
                "write `*` in the rule if any value may match, or issue the certificate as in the rule"
                    .to_owned()
            }
            [Difference::More(part)] if part.is_empty() => {
                format!("issue the certificate without the additional `{sign}`, or add it to the rule")
            }
            [Difference::More(_)] => {
                format!(
                    "add `*` and a `{sign}` to the rule for one more part, or write `**` for any number of parts"
                )
            }
            [Difference::Less(_)] => "remove it from the rule, or issue the certificate with it".to_owned(),
            _ => "add a match for it, or issue the certificate as in the rule".to_owned(),
        }
    }
}

impl Difference {
    fn text(&self, is_uri: bool) -> String {
        match self {
            Difference::Other { position: 2, wanted, found } if is_uri => {
                format!("its trust domain is `{}`, not `{wanted}`", excerpt(found))
            }
            Difference::Other { wanted, found, .. } => {
                format!("the rule has `{wanted}` instead of `{}`", excerpt(found))
            }
            Difference::More(part) if part.is_empty() => "it has an additional empty part".to_owned(),
            Difference::More(part) => format!("it has the additional part `{}`", excerpt(part)),
            Difference::Less(part) => format!("it lacks the rule's part `{part}`"),
        }
    }
}
