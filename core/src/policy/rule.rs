//! From a match to a client: its name, attributes and headers, filled in from the certificate.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use otlp_gate_wire::otlp::{Owned, ResourceAttributes};

use super::client::Client;
use super::condition::Captures;
use super::header;
use super::template::{Placeholder, Template};
use crate::identity::{Fingerprint, Identity, Validity};
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
    /// The client that this rule makes of a certificate.
    ///
    /// # Errors
    /// Something that the rule sets cannot be filled in. The rule then does not match: a client must not avoid a tenant
    /// header with a name that does not fit into one.
    pub(super) fn admit(
        &self,
        index: usize,
        identity: &Identity,
        captures: &Captures<'_>,
        shared: &SharedTemplates,
    ) -> Result<Client, Misfit> {
        let mut values = Values::new(identity, captures);
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

        let mut attributes = Vec::with_capacity(self.attributes.len() + shared.attributes.len());
        for (key, template) in &self.attributes {
            let value = template.render(|placeholder| values.get(placeholder)).map_err(missing)?;
            attributes.push((key.clone(), value));
        }
        values.add_general(&shared.attributes, &mut attributes);
        let headers = values.headers(&shared.headers, &attributes)?;
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
        let mut values = Values::new(identity, &[]);
        let digest = identity.stable_digest().ok_or(Misfit::Missing(Placeholder::Sha256))?;
        let hex = Fingerprint(digest).hex();
        let name = format!("{UNKNOWN_PREFIX}{}", hex.get(..UNKNOWN_DIGITS).unwrap_or_default());
        values.name = Some(&name);
        let mut attributes = Vec::with_capacity(self.attributes.len());
        values.add_general(&self.attributes, &mut attributes);
        let headers = values.headers(&self.headers, &attributes)?;
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

/// The values of placeholders.
struct Values<'a> {
    identity: &'a Identity,
    sha256: OnceCell<Option<String>>,
    captures: &'a [(&'a str, &'a str)],
    name: Option<&'a str>,
}

impl<'a> Values<'a> {
    fn new(identity: &'a Identity, captures: &'a [(&'a str, &'a str)]) -> Self {
        Values { identity, sha256: OnceCell::new(), captures, name: None }
    }

    /// The value of a placeholder. An empty value counts as missing.
    fn get(&self, placeholder: &Placeholder) -> Option<&str> {
        let subject = self.identity.subject.as_ref();
        let value = match placeholder {
            Placeholder::Name => self.name,
            Placeholder::Spiffe => self.identity.uri(),
            Placeholder::Dns => self.identity.dns_name(),
            Placeholder::Subject => subject.map(|subject| subject.text()),
            Placeholder::SubjectKey(key) => subject?.get(key),
            Placeholder::Sha256 => self.sha256.get_or_init(|| self.identity.sha256_hex()).as_deref(),
            Placeholder::Named(name) => {
                self.captures.iter().find(|(captured, _)| *captured == &**name).map(|(_, value)| *value)
            }
        };
        value.filter(|value| !value.is_empty())
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
