//! Compiles one match of a rule.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::condition::{Condition, Rare};
use super::super::nearest::nearest;
use super::super::network::Network;
use super::super::pattern::{Pattern, Separator};
use super::super::problem::{PathRef, Problem};
use super::super::template::Placeholder;
use super::captures::{CaptureClass, CaptureClasses, CaptureKinds};
use crate::config::{IssuerMatch, Match, Patterns};
use crate::identity::{
    EXTENDED_KEY_USAGES, Fingerprint, FingerprintError, is_oid, is_subject_key, parse_hex,
};
use crate::sort;

/// The most patterns of one key of a subject: each is matched with all values of the key.
const MAX_OF_ONE_KEY: usize = 8;
/// The longest identifier of a key, in bytes. RFC 5280, section 4.2.1.2, makes them of 20 bytes.
const LONGEST_KEY_ID: usize = 64;

/// What all matches of a policy share.
pub(super) struct Scope {
    /// The names in `clientCAs`.
    pub(super) cas: BTreeSet<Rc<str>>,
}

impl Scope {
    /// Compiles a match, and gives its captures.
    pub(super) fn compile(
        &self,
        one: &Match,
        kinds: &CaptureKinds<'_>,
        path: &PathRef<'_>,
        problems: &mut Vec<Problem>,
    ) -> (Condition, CaptureClasses) {
        if *one == Match::default() {
            let hint = "set at least one of `spiffe`, `dns`, `email`, `ip`, `subject`, `issuer`, `ca`, `extendedKeyUsage`, `sha256`; `unknown` is for certificates that no rule matches";
            problems.push(Problem::new(path, "the match is empty").hint(hint));
        }
        let mut compiler = Compiler { scope: self, kinds, captures: CaptureClasses::new(), problems };
        let condition = compiler.condition(one, path);
        (condition, compiler.captures)
    }

    /// Finds `{ca}` where no CA has a name, so that it never has a value.
    pub(super) fn check_placeholders<'a>(
        &self,
        placeholders: impl IntoIterator<Item = &'a Placeholder>,
        path: &PathRef<'_>,
        problems: &mut Vec<Problem>,
    ) {
        if self.cas.is_empty() && placeholders.into_iter().any(|it| *it == Placeholder::Ca) {
            let problem = Problem::new(path, "{ca} has no value");
            problems.push(problem.hint("name a CA under `clientCAs`"));
        }
    }
}

/// A fingerprint, with or without `sha256:`.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, FingerprintError> {
    Fingerprint::parse(text.strip_prefix("sha256:").unwrap_or(text))
}

struct Compiler<'a> {
    scope: &'a Scope,
    kinds: &'a CaptureKinds<'a>,
    captures: CaptureClasses,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn condition(&mut self, one: &Match, path: &PathRef<'_>) -> Condition {
        let spiffe = one.spiffe.as_ref().and_then(|text| self.spiffe(text, &path.key("spiffe")));
        let dns = one.dns.as_ref().and_then(|text| self.dns(text, &path.key("dns")));
        let email = one.email.as_ref().and_then(|text| self.email(text, &path.key("email")));
        let ip = one.ip.as_ref().and_then(|text| self.ip(text, &path.key("ip")));
        let subject = self.distinguished_name(&one.subject, &path.key("subject"));
        let rare = Rare { email, ip, ..Rare::default() };
        let rare = match &one.issuer {
            Some(issuer) => self.issuer(issuer, rare, &path.key("issuer")),
            None => rare,
        };
        let ca = one.ca.as_ref().and_then(|name| self.ca(name, &path.key("ca")));
        let usages = one.extended_key_usage.as_ref();
        let usages = usages.map(|usages| self.usages(usages, &path.key("extendedKeyUsage")));
        let rare = Rare { usages: usages.unwrap_or_default(), ..rare };
        let sha256 = one.sha256.as_ref().and_then(|text| self.digest(text, &path.key("sha256")));
        let rare = (rare != Rare::default()).then(|| Box::new(rare));
        Condition { spiffe, dns, subject, ca, sha256, rare }
    }

    fn digest(&mut self, text: &str, path: &PathRef<'_>) -> Option<[u8; 32]> {
        match fingerprint(text) {
            Ok(Fingerprint(digest)) => Some(digest),
            Err(error) => {
                self.problem(path, error, || None);
                None
            }
        }
    }

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

    fn email(&mut self, text: &str, path: &PathRef<'_>) -> Option<Pattern> {
        let pattern = self.pattern(text, Separator::Email, path)?;
        let wrong =
            |character: &char| !character.is_ascii() || character.is_ascii_control() || *character == ' ';
        if let Some(wrong) = text.chars().find(wrong) {
            let hint = "write a domain in its `xn--` form, which certificates have";
            let hint = || (!wrong.is_ascii()).then(|| hint.to_owned());
            let message = format_args!("an e-mail address cannot contain `{}`", wrong.escape_debug());
            self.problem(path, message, hint);
        } else if !text.contains('@') && text != "**" {
            let hint = || Some(format!("write `*@{text}` for all addresses of a domain, or `**` for any"));
            self.problem(path, "the address has no `@`", hint);
        }
        Some(pattern)
    }

    fn ip(&mut self, text: &str, path: &PathRef<'_>) -> Option<Network> {
        match Network::parse(text) {
            Ok(network) => Some(network),
            Err(error) => {
                self.problem(path, error, || Some(error.hint()));
                None
            }
        }
    }

    fn issuer(&mut self, issuer: &IssuerMatch, rare: Rare, path: &PathRef<'_>) -> Rare {
        if *issuer == IssuerMatch::default() {
            let hint = || Some("set at least one of `subject`, `keyId`, `key`".to_owned());
            self.problem(path, "the issuer is empty", hint);
        }
        let key_id = |text| {
            let id = parse_hex(text, LONGEST_KEY_ID);
            if id.is_none() {
                let hint = "write it as `otlp-gate whoami` prints it, or as `openssl x509 -ext authorityKeyIdentifier` does";
                let message = format!("`{}` is not the identifier of a key in hex", excerpt(text));
                self.problem(&path.key("keyId"), message, || Some(hint.to_owned()));
            }
            id
        };
        let issuer_key_id = issuer.key_id.as_deref().and_then(key_id);
        let issuer_key = issuer.key.as_ref().and_then(|text| self.digest(text, &path.key("key")));
        let issuer = self.distinguished_name(&issuer.subject, &path.key("subject"));
        Rare { issuer, issuer_key_id, issuer_key, ..rare }
    }

    fn ca(&mut self, name: &str, path: &PathRef<'_>) -> Option<Rc<str>> {
        let known = self.scope.cas.get(name).cloned();
        if known.is_none() {
            let names = self.scope.cas.iter().map(|name| &**name);
            let hint = || match nearest(name, names) {
                Some(nearest) => Some(format!("did you mean `{nearest}`?")),
                None => Some("name the CA under `clientCAs`".to_owned()),
            };
            self.problem(path, format_args!("unknown client CA `{}`", excerpt(name)), hint);
        }
        known
    }

    /// The dotted OIDs of extended key usages, sorted.
    fn usages(&mut self, usages: &Patterns, path: &PathRef<'_>) -> Vec<String> {
        let mut oids: Vec<String> = Vec::new();
        if usages.as_slice().is_empty() {
            self.problem(path, "the list of extended key usages is empty", || None);
        }
        for (number, text) in usages.as_slice().iter().enumerate() {
            let path = match usages {
                Patterns::One(_) => *path,
                Patterns::All(_) => path.index(number),
            };
            let named = EXTENDED_KEY_USAGES.iter().find(|(_, name)| name == text).map(|(oid, _)| *oid);
            let Some(oid) = named.or_else(|| is_oid(text).then_some(text.as_str())) else {
                let hint = || match nearest(text, EXTENDED_KEY_USAGES.iter().map(|(_, name)| *name)) {
                    Some(nearest) => Some(format!("did you mean `{nearest}`?")),
                    None => Some("use a name such as `clientAuth`, or a dotted OID".to_owned()),
                };
                let message = format_args!("`{}` is not an extended key usage", excerpt(text));
                self.problem(&path, message, hint);
                continue;
            };
            if oids.iter().any(|other| other == oid) {
                self.problem(&path, "duplicate extended key usage", || None);
            }
            oids.push(oid.to_owned());
        }
        if oids.len() > MAX_OF_ONE_KEY {
            let message = format_args!("the list has more than {MAX_OF_ONE_KEY} extended key usages");
            self.problem(path, message, || None);
        }
        sort::in_place(&mut oids);
        oids
    }

    fn distinguished_name(
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

/// A text of the config for a message.
fn excerpt(text: &str) -> impl fmt::Display {
    text.escape_debug()
}
