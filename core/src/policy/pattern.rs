//! Patterns: `*`, `{word}` and `**`, matched in bounded time whatever the text.
//!
//! `*` is one or more bytes of one segment; `{word}` is one to 63 characters of `[A-Za-z0-9._-]` in one segment, and
//! remembered, unless its rule allows it more ([`WordKind`]); `**` is one or more bytes of anything. Two of them never stand
//! side by side. Where a text can be read in more than one way, each takes as little as it can, from the left. Work and memory
//! are O(wildcards x text).

use core::fmt;

/// Names longer than a DNS label (RFC 1035 section 2.3.4) are not captured.
pub(super) const MAX_CAPTURE: u8 = 63;
const MAX_PATTERN: usize = 2048;
const MAX_WILDCARDS: usize = 16;

/// What ends a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `.`, in DNS names, which are in lower case.
    Dns,
    /// `/`, in URIs.
    Uri,
    /// Both, in values of a subject: they may hold host names and paths, and `*` should not run across those either.
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
            Separator::Subject => matches!(byte, b'.' | b'/'),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Token {
    Literal(Box<str>),
    /// `*`
    Star,
    /// `{word}`
    Word(Box<str>, WordKind),
    /// `**`
    Deep,
}

/// What a captured word can be: of letters, digits, `_` and `-`, of `.` where that ends no segment, and of what is
/// allowed besides. Never of `/`, which separates what the gate itself names, nor of anything that a header could not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WordKind {
    /// In characters.
    pub(super) max: u8,
    pub(super) dot: bool,
    pub(super) colon: bool,
    pub(super) at: bool,
}

impl Default for WordKind {
    fn default() -> Self {
        WordKind { max: MAX_CAPTURE, dot: false, colon: false, at: false }
    }
}

impl WordKind {
    /// Whether it can hold this byte of a text with such segments.
    pub(super) fn holds(self, byte: u8, separator: Separator) -> bool {
        match byte {
            b'.' => self.dot || !separator.ends(b'.'),
            b':' => self.colon,
            b'@' => self.at,
            _ => is_capture_byte(byte),
        }
    }

    /// Whether it can hold what other words there cannot.
    fn holds_more(self, separator: Separator) -> bool {
        self.colon || self.at || self.spans(separator)
    }

    /// Whether it can hold what ends a segment.
    fn spans(self, separator: Separator) -> bool {
        self.dot && separator.ends(b'.')
    }
}

/// How strictly words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// As the policy means it.
    Strict,
    /// Words and `*` may hold what a `**` may: to explain why a rule did not match.
    Any,
    /// Of another pattern's [`Pattern::sample`].
    Sample,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    tokens: Vec<Token>,
    separator: Separator,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The text is no pattern.
    pub fn parse(text: &str, separator: Separator) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        let mut tokens: Vec<Token> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (token, after) = match first {
                '*' => star(rest)?,
                '{' => word(rest)?,
                '}' => return Err(PatternError::Brace),
                _ => literal(rest, separator),
            };
            let wild = !matches!(token, Token::Literal(_));
            if wild && tokens.last().is_some_and(|last| !matches!(last, Token::Literal(_))) {
                return Err(PatternError::SideBySide);
            }
            if let Token::Word(word, _) = &token
                && tokens.iter().any(|other| matches!(other, Token::Word(other, _) if other == word))
            {
                return Err(PatternError::Twice(word.to_string()));
            }
            tokens.push(token);
            rest = after;
        }
        if tokens.iter().filter(|token| !matches!(token, Token::Literal(_))).count() > MAX_WILDCARDS {
            return Err(PatternError::TooManyWildcards);
        }
        Ok(Pattern { tokens, separator })
    }

    /// The text that alone matches, where there is no wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        match self.tokens.as_slice() {
            [Token::Literal(literal)] => Some(literal),
            _ => None,
        }
    }

    /// What every match starts with.
    pub(super) fn prefix(&self) -> &str {
        match self.tokens.first() {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// What every match ends with.
    pub(super) fn suffix(&self) -> &str {
        match self.tokens.last() {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The words that it captures, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.kinds().map(|(word, _)| word)
    }

    /// The words that it captures, in order, and what each can be.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, WordKind)> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Word(word, kind) => Some((&**word, *kind)),
            _ => None,
        })
    }

    /// The texts between its wildcards.
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

    /// Whether it matches nothing but an empty text, as only a segment of a pattern may.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether it has a `**`.
    pub(super) fn is_deep(&self) -> bool {
        self.tokens.contains(&Token::Deep)
    }

    /// It, with what is written out in lower case.
    pub(super) fn lower_case(&self) -> Pattern {
        let mut lower = self.clone();
        for token in &mut lower.tokens {
            if let Token::Literal(literal) = token {
                *literal = literal.to_ascii_lowercase().into();
            }
        }
        lower
    }

    /// Its segments, each a pattern.
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

    /// Says what its words can be.
    pub(super) fn set_kinds(&mut self, kind_of: impl Fn(&str) -> WordKind) {
        for token in &mut self.tokens {
            if let Token::Word(word, kind) = token {
                *kind = kind_of(word);
            }
        }
    }

    /// A regular expression that matches the same whole texts with the same captures, for programs that have no patterns: of
    /// the syntax that RE2 and Go share with most others.
    pub fn regex(&self) -> String {
        let segment = match self.separator {
            Separator::Dns => r"\.",
            Separator::Uri => "/",
            Separator::Subject => r"\./",
        };
        let mut regex = String::from("^");
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => literal.chars().for_each(|character| {
                    if r"\.+*?()|[]{}^$".contains(character) {
                        regex.push('\\');
                    }
                    regex.push(character);
                }),
                Token::Star => regex.push_str(&format!("[^{segment}]+?")),
                Token::Word(word, kind) => {
                    let more =
                        [b'.', b':', b'@'].into_iter().filter(|byte| kind.holds(*byte, self.separator));
                    let more: String = more.map(char::from).collect();
                    regex.push_str(&format!("(?P<{word}>[A-Za-z0-9{more}_-]{{1,{}}}?)", kind.max));
                }
                Token::Deep => regex.push_str("(?s:.)+?"),
            }
        }
        regex.push('$');
        regex
    }

    /// Whether it has two wildcards in one segment, one of them a word: then a text may be read in several ways. So it may where
    /// two words run across segments.
    pub(super) fn is_ambiguous(&self) -> bool {
        if self.kinds().filter(|(_, kind)| kind.spans(self.separator)).nth(1).is_some() {
            return true;
        }
        let mut wild_in_segment = false;
        let mut word_in_segment = false;
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => {
                    if literal.bytes().any(|byte| self.separator.ends(byte)) {
                        (wild_in_segment, word_in_segment) = (false, false);
                    }
                }
                token => {
                    let word = matches!(token, Token::Word(..));
                    if wild_in_segment && (word || word_in_segment) {
                        return true;
                    }
                    (wild_in_segment, word_in_segment) = (true, word_in_segment || word);
                }
            }
        }
        false
    }

    /// A text that stands for all that match: another pattern that matches it ([`Reading::Sample`]) matches them too.
    pub(super) fn sample(&self) -> String {
        self.tokens
            .iter()
            .map(|token| match token {
                Token::Literal(literal) => literal.to_string(),
                Token::Word(_, kind) if kind.spans(self.separator) => SAMPLE_DEEP.to_owned(),
                Token::Word(_, kind) if kind.holds_more(self.separator) => SAMPLE_STAR.to_owned(),
                Token::Word(_, kind) => SAMPLE_WORD.repeat(kind.max.div_ceil(MAX_CAPTURE).into()),
                Token::Star => SAMPLE_STAR.to_owned(),
                Token::Deep => SAMPLE_DEEP.to_owned(),
            })
            .collect()
    }

    /// Whether it matches and captures the same of all texts as the other, words' names aside.
    pub(super) fn is_like(&self, other: &Pattern) -> bool {
        let same = |(own, other): (&Token, &Token)| match (own, other) {
            (Token::Word(_, own), Token::Word(_, other)) => own == other,
            (own, other) => own == other,
        };
        self.separator == other.separator
            && self.tokens.len() == other.tokens.len()
            && self.tokens.iter().zip(&other.tokens).all(same)
    }

    /// Matches a whole text; the captures are appended to `captures` in order.
    pub(super) fn matches<'a>(
        &'a self,
        text: &'a str,
        reading: Reading,
        captures: &mut Vec<(&'a str, &'a str)>,
    ) -> bool {
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
        // Most texts that are no match end here, before anything is allocated.
        let mut rest = middle;
        for token in tokens.clone() {
            if let Token::Literal(literal) = token {
                let Some((_, after)) = rest.split_once(&**literal) else { return false };
                rest = after;
            }
        }
        Matcher { tokens: tokens.collect(), separator: self.separator, reading }.run(middle, captures)
    }
}

/// As it is written in the config.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.iter().try_for_each(|token| match token {
            Token::Literal(literal) => f.write_str(literal),
            Token::Word(word, _) => write!(f, "{{{word}}}"),
            Token::Star => f.write_str("*"),
            Token::Deep => f.write_str("**"),
        })
    }
}

// No identity holds control characters, so in a sample they stand for what a wildcard of another pattern matched: a word for up to
// 63 characters, the others for any number.
const SAMPLE_STAR: &str = "\u{1}";
const SAMPLE_WORD: &str = "\u{2}";
const SAMPLE_DEEP: &str = "\u{3}";

struct Matcher<'a> {
    tokens: Vec<&'a Token>,
    separator: Separator,
    reading: Reading,
}

impl<'a> Matcher<'a> {
    /// From the last token back, at which places of the text can the tokens from here on match the rest? Then forward,
    /// each wildcard to the nearest such place.
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
            if let (Token::Word(word, _), Some(value)) = (token, text.get(start..end)) {
                captures.push((word, value));
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
            (Token::Word(_, kind), Reading::Strict | Reading::Sample) => usize::from(kind.max),
            _ => usize::MAX,
        };
        let length_of = |byte: u8| match self.reading {
            Reading::Sample if SAMPLE_WORD.as_bytes() == [byte] => usize::from(MAX_CAPTURE),
            _ => 1,
        };
        // How far behind `start` the nearest reachable end is, over bytes that the wildcard takes.
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
            (Token::Word(_, kind), Reading::Strict) => kind.holds(byte, self.separator),
            (Token::Word(_, kind), Reading::Sample) => {
                kind.holds(byte, self.separator) || SAMPLE_WORD.as_bytes() == [byte]
            }
            (_, Reading::Any) => true,
            (_, Reading::Sample) => in_segment && SAMPLE_DEEP.as_bytes() != [byte],
            _ => in_segment,
        }
    }
}

/// `[A-Za-z0-9._-]`: what the plain text of a client's name is made of, and a captured word that is allowed no more.
pub(super) fn is_capture_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn star(rest: &str) -> Result<(Token, &str), PatternError> {
    let after = rest.trim_start_matches('*');
    match rest.len() - after.len() {
        1 => Ok((Token::Star, after)),
        2 => Ok((Token::Deep, after)),
        _ => Err(PatternError::SideBySide),
    }
}

fn word(rest: &str) -> Result<(Token, &str), PatternError> {
    let Some((word, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Err(PatternError::Brace);
    };
    let starts_well = word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(PatternError::Word(word.to_owned()));
    }
    Ok((Token::Word(word.into(), WordKind::default()), after))
}

fn literal(rest: &str, separator: Separator) -> (Token, &str) {
    let end = rest.find(['*', '{', '}']).unwrap_or(rest.len());
    let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let literal = if separator == Separator::Dns { literal.to_ascii_lowercase() } else { literal.to_owned() };
    (Token::Literal(literal.into()), after)
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// It is empty.
    Empty,
    /// It is longer than a pattern may be.
    TooLong,
    /// It has more wildcards than a pattern may have.
    TooManyWildcards,
    /// A brace has no partner.
    Brace,
    /// Two wildcards stand side by side.
    SideBySide,
    /// What is between braces is no word.
    Word(String),
    /// A word is captured twice.
    Twice(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => f.write_str("the pattern is empty and would match nothing"),
            PatternError::TooLong => write!(f, "the pattern is longer than {MAX_PATTERN} bytes"),
            PatternError::TooManyWildcards => write!(f, "the pattern has more than {MAX_WILDCARDS} wildcards"),
            PatternError::Brace => f.write_str("a brace has no partner: a captured word is written `{word}`"),
            PatternError::SideBySide => f.write_str(
                "two wildcards stand side by side, so that where the one ends is anyone's guess: use one, or put \
                 text between them",
            ),
            PatternError::Word(word) => {
                write!(f, "`{{{word}}}` is no word: use letters, digits and `_`, and start with a letter")
            }
            PatternError::Twice(word) => write!(f, "`{{{word}}}` is captured twice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<'a>(pattern: &'a Pattern, text: &'a str, reading: Reading) -> Option<Vec<(&'a str, &'a str)>> {
        let mut captures = Vec::new();
        pattern.matches(text, reading, &mut captures).then_some(captures)
    }

    fn captures(pattern: &str, separator: Separator, text: &str) -> Option<String> {
        let pattern = Pattern::parse(pattern, separator).unwrap();
        let captures = run(&pattern, text, Reading::Strict)?;
        Some(
            captures
                .iter()
                .map(|(word, value)| format!("{word}={value} "))
                .collect::<String>()
                .trim_end()
                .to_owned(),
        )
    }

    #[test]
    fn wildcards_mean_what_the_docs_say() {
        use Separator::{Dns, Subject, Uri};
        let long = "x".repeat(64);
        for (pattern, separator, text, expected) in [
            ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7", Some("")),
            ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7.a", Some("")),
            ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/ü", Some("")),
            ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/", None),
            ("spiffe://acme/edge/*", Uri, "spiffe://acme/edge/7/8", None),
            ("spiffe://acme/edge/*", Uri, "spiffe://Acme/edge/7", None),
            ("spiffe://acme/edge/*", Uri, "xspiffe://acme/edge/7", None),
            ("spiffe://acme/**", Uri, "spiffe://acme/edge/7", Some("")),
            ("spiffe://acme/**", Uri, "spiffe://acme/", None),
            ("spiffe://acme/**/sa/{sa}", Uri, "spiffe://acme/a/sa/b/sa/c", Some("sa=c")),
            ("spiffe://{td}/ns/{ns}/sa/*", Uri, "spiffe://a.example/ns/x/sa/y", Some("td=a.example ns=x")),
            ("{site}.{org}.example", Dns, "a.b.example", Some("site=a org=b")),
            ("{site}.{org}.EXAMPLE", Dns, "a.b.example", Some("site=a org=b")),
            ("{site}.{org}.example", Dns, "x.a.b.example", None),
            ("**.{org}.example", Dns, "x.a.b.example", Some("org=b")),
            ("*.example", Dns, "*.example", Some("")),
            ("{org}.example", Dns, "*.example", None),
            ("{org}.example", Dns, &format!("{long}.example"), None),
            ("{org}.example", Dns, &format!("{}.example", &long[1..]), Some(&format!("org={}", &long[1..]))),
            ("{org}", Subject, "Acme Inc", None),
            ("*", Subject, "Acme Inc", Some("")),
            ("*", Subject, "a.b", None),
            ("*", Subject, "a/b", None),
            ("**", Subject, "Acme, Inc. a/b", Some("")),
            ("{a}-{b}", Subject, "x-y-z", Some("a=x b=y-z")),
            ("aa*aa", Uri, "aaa", None),
            ("aa*aa", Uri, "aaaaa", Some("")),
            ("{a}b", Uri, "bb", Some("a=b")),
        ] {
            assert_eq!(captures(pattern, separator, text).as_deref(), expected, "{pattern} on {text}");
        }
    }

    fn kind() -> impl Strategy<Value = WordKind> {
        let max = proptest::sample::select(vec![1, 2, 62, 63, 64, 126, 127, 255]);
        (max, any::<[bool; 3]>()).prop_map(|(max, [dot, colon, at])| WordKind { max, dot, colon, at })
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest! {
        #[test]
        fn its_regular_expression_matches_and_captures_the_same(
            pattern in r"[ab.+$/-]{0,2}(\*|\{x\}|\*\*)?[ab.$/]{0,2}(\*|\{y\}|\*\*)?[a^/]{0,1}",
            text in r"[ab.:@+$/^ü-]{0,9}",
            separator in prop::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Subject]),
            kind in kind(),
        ) {
            let Ok(mut pattern) = Pattern::parse(&pattern, separator) else { return Ok(()) };
            pattern.set_kinds(|word| if word == "x" { kind } else { WordKind::default() });
            let regex = regex::Regex::new(&pattern.regex()).unwrap();
            let found = regex.captures(&text).map(|found| {
                pattern.words().map(|word| (word.to_owned(), found[word].to_owned())).collect::<Vec<_>>()
            });
            let mut own = run(&pattern, &text, Reading::Strict);
            own.iter_mut().for_each(|own| own.retain(|(_, value)| !value.is_empty()));
            let own = own.map(|own| own.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect());
            prop_assert_eq!(own, found);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, error) in [
            ("", PatternError::Empty),
            ("a***", PatternError::SideBySide),
            ("{a}{b}", PatternError::SideBySide),
            ("*{b}", PatternError::SideBySide),
            ("{b}**", PatternError::SideBySide),
            ("{a}.{a}", PatternError::Twice("a".into())),
            ("{a", PatternError::Brace),
            ("a}", PatternError::Brace),
            ("{}", PatternError::Word(String::new())),
            ("{1a}", PatternError::Word("1a".into())),
            ("{a.b}", PatternError::Word("a.b".into())),
        ] {
            assert_eq!(Pattern::parse(pattern, Separator::Uri), Err(error), "{pattern}");
        }
        assert_eq!(Pattern::parse(&"a".repeat(2049), Separator::Uri), Err(PatternError::TooLong));
        assert_eq!(Pattern::parse(&"*a".repeat(17), Separator::Uri), Err(PatternError::TooManyWildcards));
    }

    #[test]
    fn a_text_that_could_be_read_in_two_ways_is_noticed() {
        for (pattern, ambiguous) in [
            ("{a}-{b}.c", true),
            ("*-{b}", true),
            ("**x{b}", true),
            ("*-*", false),
            ("{a}.{b}", false),
            ("{a}", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern, Separator::Dns).unwrap().is_ambiguous(),
                ambiguous,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_pattern_covers_another_when_it_matches_its_sample() {
        for (wide, narrow, covers) in [
            ("a/*", "a/b", true),
            ("a/*", "a/b*", true),
            ("a/*", "a/{x}", true),
            ("a/{x}", "a/{y}", true),
            ("a/{x}", "a/*", false),
            ("a/*", "a/**", false),
            ("a/**", "a/*/b", true),
            ("*/*", "**", false),
            ("**", "*/*", true),
            ("a*", "b*", false),
        ] {
            let wide = Pattern::parse(wide, Separator::Uri).unwrap();
            let sample = Pattern::parse(narrow, Separator::Uri).unwrap().sample();
            assert_eq!(run(&wide, &sample, Reading::Sample).is_some(), covers, "{wide:?} {narrow}");
        }
    }

    #[test]
    fn a_hostile_text_takes_bounded_work() {
        let pattern = Pattern::parse(&format!("{}b", "**a".repeat(16)), Separator::Uri).unwrap();
        let text = "a".repeat(8 * 1024);
        assert_eq!(run(&pattern, &text, Reading::Strict), None);
    }

    /// The definition, by trying everything.
    fn naive<'a>(
        tokens: &'a [Token],
        separator: Separator,
        text: &'a str,
        captures: &mut Vec<(&'a str, &'a str)>,
    ) -> bool {
        let Some((token, rest)) = tokens.split_first() else { return text.is_empty() };
        if let Token::Literal(literal) = token {
            return text.strip_prefix(&**literal).is_some_and(|text| naive(rest, separator, text, captures));
        }
        for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
            let (taken, left) = text.split_at(end);
            let one_segment = !taken.bytes().any(|byte| separator.ends(byte));
            let fits = match token {
                Token::Deep => true,
                Token::Word(_, kind) => {
                    taken.len() <= usize::from(kind.max)
                        && taken.bytes().all(|byte| kind.holds(byte, separator))
                }
                _ => one_segment,
            };
            let before = captures.len();
            if let Token::Word(word, _) = token {
                captures.push((word, taken));
            }
            if !taken.is_empty() && fits && naive(rest, separator, left, captures) {
                return true;
            }
            captures.truncate(before);
        }
        false
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_reference(
            pattern in r"([ab./ü]{0,2}(\*|\*\*|\{x\}|\{y\}|)){0,5}",
            text in "[ab./:@ü*]{0,12}",
            separator in proptest::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Subject]),
            kind in kind(),
        ) {
            let Ok(mut pattern) = Pattern::parse(&pattern, separator) else { return Ok(()) };
            pattern.set_kinds(|word| if word == "x" { kind } else { WordKind::default() });
            let mut expected = Vec::new();
            let matches = naive(&pattern.tokens, separator, &text, &mut expected);
            prop_assert_eq!(run(&pattern, &text, Reading::Strict), matches.then_some(expected));
        }

        #[test]
        fn no_text_panics_the_parser(text in r"[a*{}.\PC]{0,24}") {
            let _ = Pattern::parse(&text, Separator::Dns);
        }

        #[test]
        fn what_covers_a_pattern_matches_all_that_it_matches(
            wide in r"([ab./]{0,2}(\*|\*\*|\{x\}|)){0,3}",
            narrow in r"([ab./]{0,2}(\*|\*\*|\{x\}|)){0,3}",
            text in "([ab./:*]|a{60}){0,6}",
            separator in proptest::sample::select(vec![Separator::Dns, Separator::Uri, Separator::Subject]),
            kinds in (kind(), kind()),
        ) {
            let (Ok(mut wide), Ok(mut narrow)) = (Pattern::parse(&wide, separator), Pattern::parse(&narrow, separator))
            else { return Ok(()) };
            wide.set_kinds(|_| kinds.0);
            narrow.set_kinds(|_| kinds.1);
            let sample = narrow.sample();
            if run(&wide, &sample, Reading::Sample).is_some() && run(&narrow, &text, Reading::Strict).is_some() {
                prop_assert!(run(&wide, &text, Reading::Strict).is_some());
            }
        }
    }
}
