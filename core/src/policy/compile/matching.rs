//! Compiles one match of a rule.

use core::fmt;
use std::collections::BTreeMap;

use super::super::condition::Condition;
use super::super::nearest::nearest;
use super::super::pattern::{Pattern, Separator, WordKind};
use super::super::problem::{Place, Problem};
use super::super::template::Placeholder;
use crate::config::{Match, Patterns, Word};
use crate::identity::{Fingerprint, FingerprintError};

/// Captured words, and what they can hold.
pub(super) type Words = BTreeMap<String, Class>;

/// A subject has few values of a key; each pattern looks at all of them.
const MAX_OF_ONE_KEY: usize = 8;

/// What its rule says of captured words, by word.
pub(super) type Kinds<'a> = BTreeMap<&'a str, WordKind>;

/// Longer words are of no use as names, and crowd out what stands beside them in a header.
const LONGEST_WORD: u8 = u8::MAX;

/// Which characters a captured word can hold, of `[A-Za-z0-9._:@-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    dot: bool,
    upper: bool,
    colon: bool,
    at: bool,
}

impl Class {
    pub(super) const ANY: Class = Class { dot: true, upper: true, colon: true, at: true };

    pub(super) fn of(separator: Separator, kind: WordKind) -> Self {
        Class {
            dot: kind.holds(b'.', separator),
            upper: separator != Separator::Dns,
            colon: kind.holds(b':', separator),
            at: kind.holds(b'@', separator),
        }
    }

    /// What either can hold.
    pub(super) fn or(self, other: Class) -> Self {
        Class {
            dot: self.dot || other.dot,
            upper: self.upper || other.upper,
            colon: self.colon || other.colon,
            at: self.at || other.at,
        }
    }

    /// Whether a word can hold this character of a name.
    pub(super) fn holds(self, byte: u8) -> bool {
        match byte {
            b'.' => self.dot,
            b'A'..=b'Z' => self.upper,
            b':' => self.colon,
            b'@' => self.at,
            _ => true,
        }
    }
}

/// What a rule says of its words.
pub(super) fn kinds<'a>(
    words: &'a BTreeMap<String, Word>,
    path: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> Kinds<'a> {
    let mut kinds = Kinds::new();
    for (word, Word { max, allow }) in words {
        let path = path.key(word);
        let mut kind = WordKind::default();
        if let Some(max) = *max {
            match u8::try_from(max) {
                Ok(max @ 1..=LONGEST_WORD) => kind.max = max,
                _ => {
                    let message = format!("a word has 1 to {LONGEST_WORD} characters, not {max}");
                    problems.push(Problem::new(path.key("max"), message));
                }
            }
        }
        for character in allow.chars() {
            match character {
                '.' => kind.dot = true,
                ':' => kind.colon = true,
                '@' => kind.at = true,
                other => {
                    let message = format!("a word cannot be allowed `{}`", other.escape_debug());
                    let hint = "there are `.`, `:` and `@`, beside A-Z a-z 0-9 _ - that every word may hold";
                    problems.push(Problem::new(path.key("allow"), message).hint(hint));
                    break;
                }
            }
        }
        kinds.insert(word, kind);
    }
    kinds
}

/// Refuses what is said of words that are not captured.
pub(super) fn check_kinds(
    kinds: &Kinds<'_>,
    captured: &Words,
    path: &Place<'_>,
    problems: &mut Vec<Problem>,
) {
    for word in kinds.keys().filter(|word| !captured.contains_key(**word)) {
        let names = captured.keys().map(String::as_str);
        let hint = match nearest(word, names) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("`match` captures a word where it says {{{word}}}"),
        };
        let message = format!("`match` captures no word `{}`", word.escape_debug());
        problems.push(Problem::new(path.key(word), message).hint(hint));
    }
}

pub(super) fn compile(
    one: &Match,
    kinds: &Kinds<'_>,
    path: &Place<'_>,
    problems: &mut Vec<Problem>,
) -> (Condition, Words) {
    if *one == Match::default() {
        let hint = "give at least one of spiffe, dns, subject, sha256; `unknown` is for everybody else";
        problems.push(Problem::new(path, "an empty match").hint(hint));
    }
    let mut compiler = Compiler { kinds, words: Words::new(), problems };
    let spiffe = one.spiffe.as_ref().and_then(|text| compiler.spiffe(text, &path.key("spiffe")));
    let dns = one.dns.as_ref().and_then(|text| compiler.dns(text, &path.key("dns")));
    let subject = compiler.subject(&one.subject, &path.key("subject"));
    let sha256 = one.sha256.as_ref().and_then(|text| match fingerprint(text) {
        Ok(Fingerprint(digest)) => Some(digest),
        Err(error) => {
            compiler.problems.push(Problem::new(path.key("sha256"), error.to_string()));
            None
        }
    });
    (Condition { spiffe, dns, subject, sha256 }, compiler.words)
}

/// A fingerprint, with `sha256:` in front or without.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, FingerprintError> {
    Fingerprint::parse(text.strip_prefix("sha256:").unwrap_or(text))
}

struct Compiler<'a> {
    kinds: &'a Kinds<'a>,
    words: Words,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn spiffe(&mut self, text: &str, path: &Place<'_>) -> Option<Pattern> {
        let pattern = self.pattern(text, Separator::Uri, path)?;
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            self.problem(path, "a URI has no spaces", None);
        }
        if !pattern.prefix().is_empty() && !text.contains(':') {
            let hint = format!("write spiffe://{}", text.trim_start_matches('/'));
            self.problem(path, "a URI starts with its scheme, and this has none", Some(hint));
        }
        Some(pattern)
    }

    fn dns(&mut self, text: &str, path: &Place<'_>) -> Option<Pattern> {
        let pattern = self.pattern(text, Separator::Dns, path)?;
        let in_name = |character: char| character.is_ascii_alphanumeric() || "-_.*{}".contains(character);
        if let Some(wrong) = text.chars().find(|character| !in_name(*character)) {
            let hint = match wrong {
                '/' | ':' => Some("a URI goes under `spiffe`".to_owned()),
                _ if !wrong.is_ascii() => Some("certificates hold the `xn--` form".to_owned()),
                _ => None,
            };
            self.problem(path, format_args!("a DNS name has no `{}`", wrong.escape_debug()), hint);
        }
        Some(pattern)
    }

    fn subject(&mut self, subject: &BTreeMap<String, Patterns>, path: &Place<'_>) -> Vec<(String, Pattern)> {
        let mut patterns: Vec<(String, Pattern)> = Vec::with_capacity(subject.len());
        for (key, texts) in subject {
            let path = path.key(key);
            if !is_subject_key(key) {
                let hint = "write CN, O, OU or another short name, or a dotted OID".to_owned();
                self.problem(&path, "this is no key of a subject", Some(hint));
            }
            if patterns.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
                let hint = "several patterns of one key are a list: `OU: [a, b]`".to_owned();
                self.problem(&path, "the key is given twice, in different case", Some(hint));
            }
            if texts.as_slice().is_empty() {
                self.problem(&path, "the list of patterns is empty", None);
            }
            if texts.as_slice().len() > MAX_OF_ONE_KEY {
                self.problem(&path, format_args!("there are more than {MAX_OF_ONE_KEY} patterns"), None);
                continue;
            }
            for (number, text) in texts.as_slice().iter().enumerate() {
                let path = match texts {
                    Patterns::One(_) => path,
                    Patterns::All(_) => path.index(number),
                };
                if texts.as_slice().iter().take(number).any(|other| other == text) {
                    self.problem(&path, "the pattern is given twice", None);
                }
                let pattern = self.pattern(text, Separator::Subject, &path);
                patterns.extend(pattern.map(|pattern| (key.clone(), pattern)));
            }
        }
        patterns
    }

    fn pattern(&mut self, text: &str, separator: Separator, path: &Place<'_>) -> Option<Pattern> {
        let mut pattern = match Pattern::parse(text, separator) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.problem(path, error, None);
                // What uses its words is not wrong because of that.
                let words = text.split('{').filter_map(|rest| rest.split_once('}'));
                self.words.extend(words.map(|(word, _)| (word.to_owned(), Class::ANY)));
                return None;
            }
        };
        pattern.set_kinds(|word| self.kinds.get(word).copied().unwrap_or_default());
        for (word, kind) in pattern.kinds() {
            if !matches!(Placeholder::named(word), Placeholder::Other(_)) {
                let hint = Some(format!("call it {{my_{word}}}"));
                self.problem(
                    path,
                    format_args!("{{{word}}} already means something else in templates"),
                    hint,
                );
            }
            let class = Class::of(separator, kind);
            let class = self.words.get(word).map_or(class, |other| class.or(*other));
            self.words.insert(word.to_owned(), class);
        }
        Some(pattern)
    }

    fn problem(&mut self, path: &Place<'_>, message: impl fmt::Display, hint: Option<String>) {
        self.problems.push(Problem::new(path, message.to_string()).maybe_hint(hint));
    }
}

/// `CN`, or `2.5.4.3` (RFC 4514 section 3).
pub(super) fn is_subject_key(key: &str) -> bool {
    let oid = || {
        key.contains('.')
            && key.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
    };
    let name = || {
        key.starts_with(|first: char| first.is_ascii_alphabetic())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    oid() || name()
}
