//! The deny list.

use std::collections::BTreeSet;

use super::nearest::nearest;
use super::pattern::{Pattern, Reading, Separator};
use super::problem::{ConfigPath, PathRef, Problem};
use super::rule::Rule;
use super::template::{Segment, Template};
use crate::config::ClientCa;
use crate::identity::{Fingerprint, Identity, MAX_SERIAL_BYTES};

/// The deny list, compiled.
#[derive(Debug, Default)]
pub(super) struct Deny {
    fingerprints: BTreeSet<[u8; 32]>,
    signed: BTreeSet<[u8; 32]>,
    keys: BTreeSet<[u8; 32]>,
    /// Serial numbers of any CA.
    serials: BTreeSet<Vec<u8>>,
    /// Serial numbers of one CA, with its name.
    issued: BTreeSet<(Vec<u8>, String)>,
    names: BTreeSet<String>,
}

/// Whether an entry of a deny list denies a certificate, or the client of this name.
pub fn denies(entry: &str, identity: &Identity, client: Option<&str>) -> bool {
    let deny = Deny::compile(&[entry.to_owned()], &mut Vec::new());
    deny.certificate(identity) || client.is_some_and(|name| deny.name(name))
}

impl Deny {
    pub(super) fn compile(entries: &[String], problems: &mut Vec<Problem>) -> Self {
        let mut deny = Deny::default();
        let path = PathRef::of("deny");
        for (index, text) in entries.iter().enumerate() {
            if let Err(problem) = deny.add(text, &path.index(index)) {
                problems.push(problem);
            }
        }
        deny
    }

    fn add(&mut self, text: &str, path: &PathRef<'_>) -> Result<(), Problem> {
        let digest = |hex| match Fingerprint::parse(hex) {
            Ok(Fingerprint(digest)) => Ok(digest),
            Err(error) => Err(Problem::new(path, error.to_string())),
        };
        match text.split_once(':') {
            Some(("sha256", hex)) => drop(self.fingerprints.insert(digest(hex)?)),
            Some(("signed", hex)) => drop(self.signed.insert(digest(hex)?)),
            Some(("key", hex)) => drop(self.keys.insert(digest(hex)?)),
            Some(("serial", text)) => {
                let (hex, ca) = text.split_once('@').map_or((text, None), |(hex, ca)| (hex, Some(ca)));
                let Some(serial) = serial(hex) else {
                    let message = format!("`{}` is not a serial number in hex", hex.escape_debug());
                    let hint = "write it as `openssl x509 -serial` or `otlp-gate whoami` prints it";
                    return Err(Problem::new(path, message).hint(hint));
                };
                match ca {
                    None => drop(self.serials.insert(serial)),
                    Some(ca) => drop(self.issued.insert((serial, ca.to_owned()))),
                }
            }
            Some(("name", name)) if !name.is_empty() => drop(self.names.insert(name.to_owned())),
            _ => {
                let message = format!(
                    "`{}` does not start with `sha256:`, `signed:`, `serial:`, `key:` or `name:`",
                    text.escape_debug()
                );
                let hint = "write `sha256:` and the certificate's fingerprint, `signed:` and the SHA-256 of its signed part, `serial:` and its serial number in hex, `key:` and the SHA-256 of its public key, or `name:` and the client's name; `otlp-gate whoami CERT` shows all of them";
                return Err(Problem::new(path, message).hint(hint));
            }
        }
        Ok(())
    }

    /// Whether a certificate is on the list, by its fingerprint, signed part, serial number or key. The serial number of
    /// one CA also denies a certificate whose CA is unknown.
    pub(super) fn certificate(&self, identity: &Identity) -> bool {
        let on_list = identity.fingerprints().any(|digest| self.fingerprints.contains(&digest));
        on_list
            || identity.certificate.as_ref().is_some_and(|certificate| {
                let is_of = |ca: &str| identity.ca.as_ref().is_none_or(|own| own.name.as_deref() == Some(ca));
                self.keys.contains(&certificate.key)
                    || self.signed.contains(&certificate.signed)
                    || self.serials.contains(&certificate.serial)
                    || self.issued.iter().any(|(serial, ca)| *serial == certificate.serial && is_of(ca))
            })
    }

    /// The entries that name a CA that is not in `clientCAs`.
    pub(super) fn unknown_cas(&self, entries: &[String], cas: &[ClientCa]) -> Vec<Problem> {
        let names = || cas.iter().map(|ca| ca.name.as_str()).filter(|name| !name.is_empty());
        let named = entries.iter().enumerate().filter_map(|(index, text)| {
            let (_, ca) = text.strip_prefix("serial:")?.split_once('@')?;
            Some((index, ca))
        });
        let problem = |(index, ca): (usize, &str)| {
            let message = format!("`{}` is not a name in `clientCAs`", ca.escape_debug());
            let hint = || Some(format!("did you mean `{}`?", nearest(ca, names())?));
            Problem::new(ConfigPath::of("deny").index(index), message).hint_with(hint)
        };
        named.filter(|(_, ca)| !names().any(|name| name == *ca)).map(problem).collect()
    }

    /// Warnings about serial numbers without a CA, where several CAs may have given them.
    pub(super) fn ambiguous_serials(entries: &[String], cas: &[ClientCa]) -> Vec<Problem> {
        let Some(ca) = cas.iter().find(|ca| !ca.name.is_empty()).filter(|_| cas.len() > 1) else {
            return Vec::new();
        };
        let entries = entries.iter().enumerate();
        let ambiguous = entries.filter(|(_, text)| text.starts_with("serial:") && !text.contains('@'));
        let warning = |(index, text): (usize, &String)| {
            let message =
                "each client CA may have issued a certificate with this serial number: all are denied";
            let hint = format!("write `{text}@{}` for one CA", ca.name);
            Problem::new(ConfigPath::of("deny").index(index), message).hint(hint)
        };
        ambiguous.map(warning).collect()
    }

    /// Whether the client of this name is on the list.
    pub(super) fn name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Names on the list that no rule gives to any client: a mistyped name denies no client.
    pub(super) fn unused_names(&self, entries: &[String], rules: &[Rule], unknown: bool) -> Vec<Problem> {
        let names: Vec<Option<Pattern>> = rules.iter().map(|rule| names_of(&rule.name)).collect();
        let is_used = |name: &str| {
            // If the template does not make a pattern, its names are unknown, and the entry counts as used.
            names.iter().any(|pattern| {
                pattern.as_ref().is_none_or(|it| it.matches(name, Reading::Strict, &mut Vec::new()))
            }) || (unknown && name.starts_with(super::rule::UNKNOWN_PREFIX))
                || name == super::VERIFY_NAME
        };
        let entries = entries.iter().enumerate();
        let entries = entries.filter_map(|(index, text)| Some((index, text.strip_prefix("name:")?)));
        let unused = entries.filter(|(_, name)| self.names.contains(*name) && !is_used(name));
        let warning = |(index, name): (usize, &str)| {
            let message = format!("no client is named `{}`: this entry has no effect", name.escape_debug());
            let hint = "write the client's name as `otlp-gate whoami CERT` prints it";
            Problem::new(ConfigPath::of("deny").index(index), message).hint(hint)
        };
        unused.map(warning).collect()
    }
}

/// A pattern for all names that a template gives.
fn names_of(name: &Template) -> Option<Pattern> {
    let mut text = String::new();
    for segment in name.segments() {
        match segment {
            Segment::Text(literal) => text.push_str(literal),
            Segment::Placeholder(_) if text.ends_with("**") => {}
            Segment::Placeholder(_) => text.push_str("**"),
        }
    }
    Pattern::parse(&text, Separator::Uri).ok()
}

/// A serial number in hex. Colons, leading zeros and a sign byte make no difference.
pub(super) fn serial(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .filter(|character| *character != ':')
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() <= 2 * MAX_SERIAL_BYTES)?;
    let first = if digits.len() % 2 == 1 { &[0][..] } else { &[] };
    let nibbles = [first, &digits].concat();
    let bytes = nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit));
    Some(bytes.skip_while(|byte| *byte == 0).collect())
}
