//! From a match to a client: its name, attributes and headers, filled in from the certificate.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use otlp_gate_wire::otlp::{Owned, ResourceAttributes};

use super::client::Client;
use super::condition::{Captures, Condition, Key};
use super::header;
use super::pattern::Reading;
use super::template::{Placeholder, Template};
use crate::identity::{Fingerprint, Identity, Validity, hex};
use crate::quota::{BucketId, Tier};
use crate::sort;

/// Templates by attribute key or header name, sorted.
pub(super) type Templates = Vec<(String, Template)>;

/// A compiled client rule, without its matches.
#[derive(Debug)]
pub(super) struct Rule {
    /// The text of `name` in the config, which together with the values of `bucket_of` identifies a bucket.
    pub(super) name_text: String,
    pub(super) name: Template,
    pub(super) attributes: Templates,
    /// The placeholders whose values make one bucket, sorted, each once.
    pub(super) bucket_of: Vec<Placeholder>,
    pub(super) tier: Rc<Tier>,
    pub(super) listed: bool,
}

/// The templates of all clients.
#[derive(Debug)]
pub(super) struct SharedTemplates {
    pub(super) attributes: Templates,
    /// Names in lower case.
    pub(super) headers: Templates,
    /// The keys that are removed from clients' Resources.
    pub(super) owned: Rc<Owned>,
}

/// Why a rule whose match holds does not match a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The rule uses a part of the certificate that is missing.
    Missing(Placeholder),
    /// The value of this header is not allowed in a header.
    Header(String),
}

impl Rule {
    /// The client that this rule makes of a certificate for which `condition`, one of its matches, holds.
    ///
    /// # Errors
    /// Something that the rule sets cannot be filled in. The rule then does not match: a client must not avoid a tenant
    /// header with a name that does not fit into one.
    pub(super) fn admit(
        &self,
        index: usize,
        identity: &Identity,
        condition: Option<&Condition>,
        captures: &Captures<'_>,
        shared: &SharedTemplates,
    ) -> Result<Client, Misfit> {
        let mut values = Values::new(identity, condition, captures);
        let missing = |placeholder: &Placeholder| Misfit::Missing(placeholder.clone());
        let name = self.name.render(|placeholder| values.get(placeholder)).map_err(missing)?;
        values.name = Some(&name);

        let stable = identity.stable_digest();
        let mut bucket: Vec<&[u8]> = vec![b"client", self.name_text.as_bytes()];
        let names: Vec<Cow<str>> = self.bucket_of.iter().map(Placeholder::name).collect();
        for (placeholder, name) in self.bucket_of.iter().zip(&names) {
            let value = values.get(placeholder).ok_or_else(|| missing(placeholder))?.as_bytes();
            // The bucket must not change when the holder alters the certificate's signature.
            let stable = stable.as_ref().filter(|_| *placeholder == Placeholder::Sha256);
            bucket.extend([name.as_bytes(), stable.map_or(value, |digest| digest)]);
        }
        let bucket = BucketId::of(&bucket);

        let Filled { attributes, headers } = values.fill(&self.attributes, shared)?;
        Ok(Client {
            name,
            rule: Some(index),
            listed: self.listed,
            resource_attributes: shared.resource_attributes(&attributes),
            headers,
            bucket,
            tier: Rc::clone(&self.tier),
            validity: validity(identity),
        })
    }
}

impl SharedTemplates {
    /// The client for a certificate that no rule matches: one per signed part of a certificate.
    ///
    /// # Errors
    /// The certificate has no fingerprint, or a header's value must be not allowed.
    pub(super) fn admit_unknown(&self, identity: &Identity, tier: &Rc<Tier>) -> Result<Client, Misfit> {
        let mut values = Values::new(identity, None, &[]);
        let digest = identity.stable_digest().ok_or(Misfit::Missing(Placeholder::Sha256))?;
        let hex = Fingerprint(digest).hex();
        let name = format!("{UNKNOWN_PREFIX}{}", hex.get(..UNKNOWN_DIGITS).unwrap_or_default());
        values.name = Some(&name);
        let Filled { attributes, headers } = values.fill(&[], self)?;
        let bucket = BucketId::of(&[b"unknown", &digest]);
        Ok(Client {
            name,
            rule: None,
            listed: false,
            resource_attributes: self.resource_attributes(&attributes),
            headers,
            bucket,
            tier: Rc::clone(tier),
            validity: validity(identity),
        })
    }

    fn resource_attributes(&self, attributes: &[(String, String)]) -> ResourceAttributes {
        ResourceAttributes::new(&self.owned, attributes.iter().map(|(key, value)| (&**key, &**value)))
    }
}

fn validity(identity: &Identity) -> Option<Validity> {
    identity.certificate.as_ref().map(|certificate| certificate.validity)
}

/// The name of a client that no rule matches: this, and hex digits of the SHA-256 of its certificate's signed part.
pub(super) const UNKNOWN_PREFIX: &str = "unknown-";
/// The number of those hex digits.
pub(super) const UNKNOWN_DIGITS: usize = 12;

/// A client's attributes and headers.
struct Filled {
    attributes: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

/// The values of placeholders.
struct Values<'a> {
    identity: &'a Identity,
    /// The match that holds, if a rule matches.
    condition: Option<&'a Condition>,
    sha256: OnceCell<Option<String>>,
    ip: OnceCell<Option<String>>,
    serial: OnceCell<Option<String>>,
    captures: &'a [(&'a str, &'a str)],
    name: Option<&'a str>,
    pick: Pick,
}

/// Which of several names of the certificate a placeholder stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    First,
    /// The one that is most unlikely to fit into a header.
    Worst,
}

impl<'a> Values<'a> {
    fn new(
        identity: &'a Identity,
        condition: Option<&'a Condition>,
        captures: &'a [(&'a str, &'a str)],
    ) -> Self {
        Values {
            identity,
            condition,
            sha256: OnceCell::new(),
            ip: OnceCell::new(),
            serial: OnceCell::new(),
            captures,
            name: None,
            pick: Pick::First,
        }
    }

    /// Fills in a rule's own attributes, those of all clients, and the headers.
    ///
    /// # Errors
    /// An own attribute has a placeholder without a value, or a header's value is not allowed. With several names that
    /// a placeholder may stand for, it must be allowed with each: else their order, which the holder of the certificate
    /// may have chosen, would decide whether the rule matches.
    fn fill(&mut self, own: &[(String, Template)], shared: &SharedTemplates) -> Result<Filled, Misfit> {
        let Identity { uris, dns, emails, .. } = self.identity;
        if !shared.headers.is_empty() && [uris, dns, emails].iter().any(|names| names.len() > 1) {
            self.pick = Pick::Worst;
            self.fill_once(own, shared)?;
            self.pick = Pick::First;
        }
        self.fill_once(own, shared)
    }

    fn fill_once(&self, own: &[(String, Template)], shared: &SharedTemplates) -> Result<Filled, Misfit> {
        let mut attributes = Vec::with_capacity(own.len() + shared.attributes.len());
        for (key, template) in own {
            let value = template.render(|placeholder| self.get(placeholder));
            attributes.push((key.clone(), value.map_err(|missing| Misfit::Missing(missing.clone()))?));
        }
        self.add_general(&shared.attributes, &mut attributes);
        let headers = self.headers(&shared.headers, &attributes)?;
        Ok(Filled { attributes, headers })
    }

    /// The value of a placeholder. An empty value counts as missing.
    fn get(&self, placeholder: &Placeholder) -> Option<&str> {
        let subject = self.identity.subject.as_ref();
        let certificate = self.identity.certificate.as_ref();
        let value = match placeholder {
            Placeholder::Name => self.name,
            Placeholder::Spiffe => self.name_of(Key::Spiffe),
            Placeholder::Dns => self.name_of(Key::Dns),
            Placeholder::Email => self.name_of(Key::Email),
            Placeholder::Ip => self.ip.get_or_init(|| self.address()).as_deref(),
            Placeholder::Subject => subject.map(|subject| subject.text()),
            Placeholder::SubjectKey(key) => subject?.get(key),
            Placeholder::Issuer => self.identity.issuer().map(|issuer| issuer.text()),
            Placeholder::Ca => self.identity.ca_name(),
            Placeholder::Serial => {
                let serial = || certificate.map(|certificate| serial(&certificate.serial));
                self.serial.get_or_init(serial).as_deref()
            }
            Placeholder::Sha256 => self.sha256.get_or_init(|| self.identity.sha256_hex()).as_deref(),
            Placeholder::Named(name) => {
                self.captures.iter().find(|(captured, _)| *captured == &**name).map(|(_, value)| *value)
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// The name that the match's pattern for this key matches, or the first one where there is no such pattern.
    fn name_of(&self, key: Key<'static>) -> Option<&'a str> {
        let mut names = key.values_in(self.identity);
        let first = names.next()?;
        if names.next().is_none() {
            return Some(first);
        }
        let pattern = self.condition.and_then(|condition| condition.pattern_of(key));
        let mut matching = key.values_in(self.identity).filter(|name| {
            pattern.is_none_or(|pattern| pattern.matches(name, Reading::Strict, &mut Vec::new()))
        });
        match self.pick {
            Pick::First => matching.next(),
            Pick::Worst => matching.max_by_key(|name| (!header::is_value(name), name.len())),
        }
    }

    /// The address that is in the match's network, or the first one where there is none.
    fn address(&self) -> Option<String> {
        let network = self.condition.and_then(|condition| condition.rare.as_ref()?.ip);
        let mut fitting = self.identity.ips.iter();
        let found = fitting.find(|address| network.is_none_or(|network| network.contains(**address)));
        found.map(ToString::to_string)
    }

    /// Adds the attributes of all clients, except those that the client has of its own and those with a placeholder
    /// that has no value.
    fn add_general(&self, general: &'a Templates, attributes: &mut Vec<(String, String)>) {
        let own = attributes.len();
        for (key, template) in general {
            let overridden = attributes
                .get(..own)
                .is_some_and(|own| own.binary_search_by(|(own, _)| own.cmp(key)).is_ok());
            if overridden {
                continue;
            }
            if let Ok(value) = template.render(|placeholder| self.get(placeholder)) {
                attributes.push((key.clone(), value));
            }
        }
        sort::in_place(attributes);
    }

    fn headers(
        &self,
        templates: &'a Templates,
        attributes: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Misfit> {
        let attribute =
            |wanted: &str| attributes.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
        let mut headers = Vec::with_capacity(templates.len());
        for (name, template) in templates {
            let value = template.render(|placeholder| match placeholder {
                Placeholder::Named(name) => self.get(placeholder).or_else(|| attribute(name)),
                _ => self.get(placeholder),
            });
            let Ok(value) = value else { continue };
            if !header::is_value(&value) {
                return Err(Misfit::Header(name.clone()));
            }
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }
}

/// A serial number as `whoami` and OpenSSL print it: two hex digits per byte, at least one byte.
fn serial(bytes: &[u8]) -> String {
    if bytes.is_empty() { "00".to_owned() } else { hex(bytes) }
}
