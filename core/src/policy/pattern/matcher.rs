//! Matching a text with a pattern, in bounded time.

use super::capture::MAX_CAPTURE;
use super::{Pattern, Separator, Token};

/// What wildcards match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Reading {
    /// As the policy defines them.
    Strict,
    /// Captures and `*` match what `**` matches: to explain why a rule did not match.
    Any,
    /// The placeholders of another pattern's [`Pattern::sample`], too.
    Sample,
}

impl Pattern {
    /// Matches a whole text. Where it matches, the captures are appended to `captures` in order.
    pub(in crate::policy) fn matches<'a>(
        &'a self,
        text: &'a str,
        reading: Reading,
        captures: &mut Vec<(&'a str, &'a str)>,
    ) -> bool {
        #[cfg(test)]
        crate::policy::work::comparison();
        if let Some(exact) = self.exact() {
            return exact == text;
        }
        let (prefix, suffix) = (self.prefix(), self.suffix());
        let Some(middle) = text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)) else {
            return false;
        };
        let skipped = usize::from(!prefix.is_empty());
        let kept = self.tokens.len() - skipped - usize::from(!suffix.is_empty());
        let tokens = self.tokens.iter().skip(skipped).take(kept);
        // Most texts that do not match are found here, before anything is allocated.
        let mut rest = middle;
        for token in tokens.clone() {
            if let Token::Literal(literal) = token {
                let Some((_, after)) = rest.split_once(&**literal) else { return false };
                rest = after;
            }
        }
        Matcher { tokens: tokens.collect(), separator: self.separator, reading }.run(middle, captures)
    }
    /// A text that stands for all texts that match: another pattern that matches it ([`Reading::Sample`]) matches all
    /// of them.
    pub(in crate::policy) fn sample(&self) -> String {
        self.tokens
            .iter()
            .map(|token| match token {
                Token::Literal(literal) => literal.to_string(),
                Token::Capture(_, kind) if kind.spans(self.separator) => SAMPLE_DEEP.to_owned(),
                Token::Capture(_, kind) if kind.holds_more(self.separator) => SAMPLE_STAR.to_owned(),
                Token::Capture(_, kind) => SAMPLE_CAPTURE.repeat(kind.max.div_ceil(MAX_CAPTURE).into()),
                Token::Star => SAMPLE_STAR.to_owned(),
                Token::Deep => SAMPLE_DEEP.to_owned(),
            })
            .collect()
    }
}

// Identities never hold control characters, so in a sample these stand for what a wildcard of the pattern matches: a
// capture for up to 63 characters, the others for any number.
const SAMPLE_STAR: &str = "\u{1}";
const SAMPLE_CAPTURE: &str = "\u{2}";
const SAMPLE_DEEP: &str = "\u{3}";

struct Matcher<'a> {
    tokens: Vec<&'a Token>,
    separator: Separator,
    reading: Reading,
}

impl<'a> Matcher<'a> {
    /// From the last token to the first: the offsets in the text from which the tokens from there on match the rest.
    /// Then forward: each wildcard ends at the nearest such offset.
    fn run(&self, text: &'a str, captures: &mut Vec<(&'a str, &'a str)>) -> bool {
        let bytes = text.as_bytes();
        let mut rows = Vec::with_capacity(self.tokens.len() + 1);
        let mut row = vec![false; bytes.len() + 1];
        if let Some(end) = row.last_mut() {
            *end = true;
        }
        for token in self.tokens.iter().rev() {
            let before = self.row_before(token, bytes, &row);
            rows.push(row);
            row = before;
        }
        if row.first() != Some(&true) {
            return false;
        }
        let mut start = 0;
        for (token, after) in self.tokens.iter().zip(rows.iter().rev()) {
            let end = match token {
                Token::Literal(literal) => start + literal.len(),
                _ => {
                    let nearest = after.iter().skip(start + 1).position(|reachable| *reachable);
                    start + 1 + nearest.unwrap_or(bytes.len())
                }
            };
            if let (Token::Capture(name, _), Some(value)) = (token, text.get(start..end)) {
                captures.push((name, value));
            }
            start = end;
        }
        true
    }

    fn row_before(&self, token: &Token, bytes: &[u8], after: &[bool]) -> Vec<bool> {
        if let Token::Literal(literal) = token {
            let fits = |start: usize| {
                let rest = bytes.get(start..).unwrap_or_default();
                rest.starts_with(literal.as_bytes()) && after.get(start + literal.len()) == Some(&true)
            };
            return (0..after.len()).map(fits).collect();
        }
        let longest = match (token, self.reading) {
            (Token::Capture(_, kind), Reading::Strict | Reading::Sample) => usize::from(kind.max),
            _ => usize::MAX,
        };
        let length_of = |byte: u8| match self.reading {
            Reading::Sample if SAMPLE_CAPTURE.as_bytes() == [byte] => usize::from(MAX_CAPTURE),
            _ => 1,
        };
        // The distance to the nearest end from which the rest matches, over bytes that the wildcard matches.
        let mut nearest: Option<usize> = None;
        let mut row = vec![false; after.len()];
        for ((reachable, byte), ends_here) in row.iter_mut().zip(bytes).rev().zip(after.iter().skip(1).rev())
        {
            nearest = match (ends_here, nearest) {
                _ if !self.takes(token, *byte) => None,
                (true, _) => Some(length_of(*byte)),
                (false, nearest) => nearest.map(|length| length + length_of(*byte)),
            };
            *reachable = nearest.is_some_and(|length| length <= longest);
        }
        row
    }

    fn takes(&self, token: &Token, byte: u8) -> bool {
        let in_segment = !self.separator.ends(byte);
        match (token, self.reading) {
            (Token::Deep, _) => true,
            (Token::Capture(_, kind), Reading::Strict) => kind.holds(byte, self.separator),
            (Token::Capture(_, kind), Reading::Sample) => {
                kind.holds(byte, self.separator) || SAMPLE_CAPTURE.as_bytes() == [byte]
            }
            (_, Reading::Any) => true,
            (_, Reading::Sample) => in_segment && SAMPLE_DEEP.as_bytes() != [byte],
            _ => in_segment,
        }
    }
}
