//! Compiles one match of a rule.

use core::fmt;
use std::collections::BTreeMap;

use super::super::condition::Condition;
use super::super::pattern::{Pattern, Separator};
use super::super::problem::{PathRef, Problem};
use super::super::template::Placeholder;
use super::captures::{CaptureClass, CaptureClasses, CaptureKinds};
use crate::config::{Match, Patterns};
use crate::identity::{Fingerprint, FingerprintError, is_subject_key};

/// The most patterns of one key of a subject: each is matched with all values of the key.
const MAX_OF_ONE_KEY: usize = 8;

pub(super) fn compile(
    one: &Match,
    kinds: &CaptureKinds<'_>,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> (Condition, CaptureClasses) {
    if *one == Match::default() {
        let hint = "set at least one of `spiffe`, `dns`, `subject`, `sha256`; `unknown` is for certificates that no rule matches";
        problems.push(Problem::new(path, "the match is empty").hint(hint));
    }
    let mut compiler = Compiler { kinds, captures: CaptureClasses::new(), problems };
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
    (Condition { spiffe, dns, subject, sha256 }, compiler.captures)
}

/// A fingerprint, with or without `sha256:`.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, FingerprintError> {
    Fingerprint::parse(text.strip_prefix("sha256:").unwrap_or(text))
}

struct Compiler<'a> {
    kinds: &'a CaptureKinds<'a>,
    captures: CaptureClasses,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn spiffe(&mut self, text: &str, path: &PathRef<'_>) -> Option<Pattern> {
        let pattern = self.pattern(text, Separator::Uri, path)?;
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            self.problem(path, "a URI cannot contain spaces", || None);
        }
        if !pattern.prefix().is_empty() && !text.contains(':') {
            let hint = || Some(format!("write `spiffe://{}`", text.trim_start_matches('/')));
            self.problem(path, "the URI has no scheme", hint);
        }
        Some(pattern)
    }

    fn dns(&mut self, text: &str, path: &PathRef<'_>) -> Option<Pattern> {
        let pattern = self.pattern(text, Separator::Dns, path)?;
        let in_name = |character: char| character.is_ascii_alphanumeric() || "-_.*{}".contains(character);
        if let Some(wrong) = text.chars().find(|character| !in_name(*character)) {
            let hint = || match wrong {
                '/' | ':' => Some("match URIs under `spiffe`".to_owned()),
                _ if !wrong.is_ascii() => Some("write its `xn--` form, which certificates have".to_owned()),
                _ => None,
            };
            self.problem(path, format_args!("a DNS name cannot contain `{}`", wrong.escape_debug()), hint);
        }
        Some(pattern)
    }

    fn subject(
        &mut self,
        subject: &BTreeMap<String, Patterns>,
        path: &PathRef<'_>,
    ) -> Vec<(String, Pattern)> {
        let mut patterns: Vec<(String, Pattern)> = Vec::with_capacity(subject.len());
        for (key, texts) in subject {
            let path = path.key(key);
            if !is_subject_key(key) {
                let hint = "use `CN`, `O`, `OU` or another short name, or a dotted OID";
                self.problem(&path, "not a key of a subject", || Some(hint.to_owned()));
            }
            if patterns.iter().any(|(other, _)| other.eq_ignore_ascii_case(key)) {
                let hint = "write several patterns of one key as a list: `OU: [a, b]`";
                self.problem(&path, "duplicate key: case is ignored", || Some(hint.to_owned()));
            }
            if texts.as_slice().is_empty() {
                self.problem(&path, "the list of patterns is empty", || None);
            }
            if texts.as_slice().len() > MAX_OF_ONE_KEY {
                self.problem(&path, format_args!("the list has more than {MAX_OF_ONE_KEY} patterns"), || {
                    None
                });
                continue;
            }
            for (number, text) in texts.as_slice().iter().enumerate() {
                let path = match texts {
                    Patterns::One(_) => path,
                    Patterns::All(_) => path.index(number),
                };
                if texts.as_slice().iter().take(number).any(|other| other == text) {
                    self.problem(&path, "duplicate pattern", || None);
                }
                let pattern = self.pattern(text, Separator::Subject, &path);
                patterns.extend(pattern.map(|pattern| (key.clone(), pattern)));
            }
        }
        patterns
    }

    fn pattern(&mut self, text: &str, separator: Separator, path: &PathRef<'_>) -> Option<Pattern> {
        let mut pattern = match Pattern::parse(text, separator) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.problem(path, error, || None);
                // Templates that use its captures are not wrong because of that.
                let names = text.split('{').filter_map(|rest| rest.split_once('}'));
                self.captures.extend(names.map(|(name, _)| (name.to_owned(), CaptureClass::ANY)));
                return None;
            }
        };
        pattern.set_capture_kinds(|name| self.kinds.get(name).copied().unwrap_or_default());
        for (name, kind) in pattern.capture_kinds() {
            if !matches!(Placeholder::parse(name), Placeholder::Named(_)) {
                let hint = || Some(format!("rename the capture, for example to {{my_{name}}}"));
                self.problem(path, format_args!("{{{name}}} is a built-in placeholder"), hint);
            }
            let class = CaptureClass::of(separator, kind);
            let class = self.captures.get(name).map_or(class, |other| class.or(*other));
            self.captures.insert(name.to_owned(), class);
        }
        Some(pattern)
    }

    fn problem(
        &mut self,
        path: &PathRef<'_>,
        message: impl fmt::Display,
        hint: impl FnOnce() -> Option<String>,
    ) {
        self.problems.push(Problem::new(path, message.to_string()).hint_with(hint));
    }
}
