//! Patterns for names in certificates: literal text, `*`, `{capture}` and `**`.
//!
//! | wildcard | matches |
//! |---|---|
//! | `*` | one or more bytes of one segment |
//! | `{capture}` | 1 to 63 characters of `[A-Za-z0-9._-]` of one segment; a rule may allow more ([`CaptureKind`]) |
//! | `**` | one or more bytes, across segments |
//!
//! Two wildcards are never adjacent. Where a text can be matched in several ways, each wildcard takes as little as it
//! can, from the left. Matching takes time and memory of O(wildcards x text) for any text.

mod capture;
mod matcher;
mod parse;
mod regex;
#[cfg(test)]
mod tests;

use core::fmt;

pub(super) use self::capture::{CaptureKind, is_capture_byte};
pub(super) use self::matcher::Reading;
pub use self::parse::PatternError;

/// What ends a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `.`, in DNS names, which are in lower case.
    Dns,
    /// `/`, in URIs.
    Uri,
    /// `.` and `@`, in e-mail addresses, whose part after the last `@` is in lower case.
    Email,
    /// `.` and `/`, in values of a subject or an issuer: they may hold host names and paths.
    Subject,
}

impl Separator {
    pub(super) fn ends_char(self, character: char) -> bool {
        u8::try_from(character).is_ok_and(|byte| self.ends(byte))
    }

    fn ends(self, byte: u8) -> bool {
        match self {
            Separator::Dns => byte == b'.',
            Separator::Uri => byte == b'/',
            Separator::Email => matches!(byte, b'.' | b'@'),
            Separator::Subject => matches!(byte, b'.' | b'/'),
        }
    }
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    tokens: Vec<Token>,
    separator: Separator,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Literal(Box<str>),
    /// `*`
    Star,
    /// `{capture}`
    Capture(Box<str>, CaptureKind),
    /// `**`
    Deep,
}

impl Pattern {
    /// The only text that matches, if there is no wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        match self.tokens.as_slice() {
            [Token::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    /// The text that every match starts with.
    pub(super) fn prefix(&self) -> &str {
        match self.tokens.first() {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The text that every match ends with.
    pub(super) fn suffix(&self) -> &str {
        match self.tokens.last() {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The names of its captures, in order.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.capture_kinds().map(|(name, _)| name)
    }

    /// The names of its captures, in order, and what each may hold.
    pub(super) fn capture_kinds(&self) -> impl Iterator<Item = (&str, CaptureKind)> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Capture(name, kind) => Some((&**name, *kind)),
            _ => None,
        })
    }

    /// Its literal texts.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Literal(literal) => Some(&**literal),
            _ => None,
        })
    }

    /// What ends its segments.
    pub(super) fn separator(&self) -> Separator {
        self.separator
    }

    /// Whether it matches the empty text only. Segments of patterns may ([`Pattern::segments`]).
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether it has a `**`.
    pub(super) fn is_deep(&self) -> bool {
        self.tokens.contains(&Token::Deep)
    }

    /// The pattern with its literal texts in lower case.
    pub(super) fn lower_case(&self) -> Pattern {
        let mut lower = self.clone();
        for token in &mut lower.tokens {
            if let Token::Literal(literal) = token {
                *literal = literal.to_ascii_lowercase().into();
            }
        }
        lower
    }

    /// Its segments as patterns: `*.{site}.example` has three.
    pub(super) fn segments(&self) -> Vec<Pattern> {
        let mut segments = vec![Vec::new()];
        for token in &self.tokens {
            let Token::Literal(literal) = token else {
                segments.last_mut().into_iter().for_each(|last| last.push(token.clone()));
                continue;
            };
            for (number, part) in literal.split(|it: char| self.separator.ends_char(it)).enumerate() {
                if number > 0 {
                    segments.push(Vec::new());
                }
                if !part.is_empty() {
                    segments.last_mut().into_iter().for_each(|last| last.push(Token::Literal(part.into())));
                }
            }
        }
        segments.into_iter().map(|tokens| Pattern { tokens, separator: self.separator }).collect()
    }

    /// Sets what its captures may hold, by name.
    pub(super) fn set_capture_kinds(&mut self, kind_of: impl Fn(&str) -> CaptureKind) {
        for token in &mut self.tokens {
            if let Token::Capture(name, kind) = token {
                *kind = kind_of(name);
            }
        }
    }

    /// Whether it matches the same texts as the other, and captures the same values under whatever names.
    pub(super) fn is_like(&self, other: &Pattern) -> bool {
        let same = |(own, other): (&Token, &Token)| match (own, other) {
            (Token::Capture(_, own), Token::Capture(_, other)) => own == other,
            (own, other) => own == other,
        };
        self.separator == other.separator
            && self.tokens.len() == other.tokens.len()
            && self.tokens.iter().zip(&other.tokens).all(same)
    }

    /// Whether a text may give different captures: it has two wildcards in one segment, at least one of them a capture,
    /// or two captures that span segments.
    pub(super) fn is_ambiguous(&self) -> bool {
        if self.capture_kinds().filter(|(_, kind)| kind.spans(self.separator)).nth(1).is_some() {
            return true;
        }
        let mut wild_in_segment = false;
        let mut capture_in_segment = false;
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => {
                    if literal.bytes().any(|byte| self.separator.ends(byte)) {
                        (wild_in_segment, capture_in_segment) = (false, false);
                    }
                }
                token => {
                    let capture = matches!(token, Token::Capture(..));
                    if wild_in_segment && (capture || capture_in_segment) {
                        return true;
                    }
                    (wild_in_segment, capture_in_segment) = (true, capture_in_segment || capture);
                }
            }
        }
        false
    }
}

/// As it is written in the config.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.iter().try_for_each(|token| match token {
            Token::Literal(literal) => f.write_str(literal),
            Token::Capture(name, _) => write!(f, "{{{name}}}"),
            Token::Star => f.write_str("*"),
            Token::Deep => f.write_str("**"),
        })
    }
}
