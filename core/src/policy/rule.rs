//! From a match to a client: names, attributes and headers filled in from the certificate.

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

/// Templates by the key or header that they are for, sorted by it.
pub(super) type Stamps = Vec<(String, Template)>;

/// A compiled client rule, without its matches.
#[derive(Debug)]
pub(super) struct Rule {
    /// As it is in the config: with the captures, the identity of its buckets.
    pub(super) name_text: String,
    pub(super) name: Template,
    pub(super) attributes: Stamps,
    /// What makes one bucket, sorted, each once.
    pub(super) bucket_of: Vec<Placeholder>,
    pub(super) tier: Rc<Tier>,
    pub(super) listed: bool,
}

/// What the gate writes for every client.
#[derive(Debug)]
pub(super) struct Stamping {
    pub(super) attributes: Stamps,
    /// Names in lower case.
    pub(super) headers: Stamps,
    /// What no client may write itself.
    pub(super) owned: Rc<Owned>,
}

/// Why a rule whose match holds is not for this certificate after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The rule takes something from the certificate that it does not have.
    Missing(Placeholder),
    /// This header would get a value that no header may have.
    Header(String),
}

impl Rule {
    /// The client that this rule makes of a certificate. A rule is only for certificates from which everything that
    /// it writes can be written: a client must not get past a tenant header by a name that does not fit into it.
    pub(super) fn admit(
        &self,
        index: usize,
        identity: &Identity,
        captures: &Captures<'_>,
        stamping: &Stamping,
    ) -> Result<Client, Misfit> {
        let mut values = Values::new(identity, captures);
        let missing = |placeholder: &Placeholder| Misfit::Missing(placeholder.clone());
        let name = self.name.render(|placeholder| values.get(placeholder)).map_err(missing)?;
        values.name = Some(&name);

        let lasting = identity.lasting();
        let mut bucket: Vec<&[u8]> = vec![b"client", self.name_text.as_bytes()];
        let words: Vec<Cow<str>> = self.bucket_of.iter().map(Placeholder::word).collect();
        for (placeholder, word) in self.bucket_of.iter().zip(&words) {
            let value = values.get(placeholder).ok_or_else(|| missing(placeholder))?.as_bytes();
            // A bucket must stay the same whatever the holder does to the certificate's signature.
            let lasting = lasting.as_ref().filter(|_| *placeholder == Placeholder::Sha256);
            bucket.extend([word.as_bytes(), lasting.map_or(value, |digest| digest)]);
        }
        let bucket = BucketId::of(&bucket);

        let mut attributes = Vec::with_capacity(self.attributes.len() + stamping.attributes.len());
        for (key, template) in &self.attributes {
            let value = template.render(|placeholder| values.get(placeholder)).map_err(missing)?;
            attributes.push((key.clone(), value));
        }
        values.add_general(&stamping.attributes, &mut attributes);
        let headers = values.headers(&stamping.headers, &attributes)?;
        Ok(Client {
            name,
            rule: Some(index),
            listed: self.listed,
            stamp: stamping.stamp(&attributes),
            headers,
            bucket,
            tier: Rc::clone(&self.tier),
            validity: validity(identity),
        })
    }
}

impl Stamping {
    /// The client that a certificate is which no rule matches: one per signed part.
    pub(super) fn admit_unknown(&self, identity: &Identity, tier: &Rc<Tier>) -> Result<Client, Misfit> {
        let mut values = Values::new(identity, &[]);
        let digest = identity.lasting().ok_or(Misfit::Missing(Placeholder::Sha256))?;
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
            stamp: self.stamp(&attributes),
            headers,
            bucket,
            tier: Rc::clone(tier),
            validity: validity(identity),
        })
    }

    fn stamp(&self, attributes: &[(String, String)]) -> ResourceAttributes {
        ResourceAttributes::new(&self.owned, attributes.iter().map(|(key, value)| (&**key, &**value)))
    }
}

fn validity(identity: &Identity) -> Option<Validity> {
    identity.certificate.as_ref().map(|certificate| certificate.validity)
}

/// Clients that no rule matches are named by this and so many hex digits of the SHA-256 of their certificate's signed part.
pub(super) const UNKNOWN_PREFIX: &str = "unknown-";
/// See [`UNKNOWN_PREFIX`].
pub(super) const UNKNOWN_DIGITS: usize = 12;

/// What placeholders stand for.
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

    /// An empty value is none.
    fn get(&self, placeholder: &Placeholder) -> Option<&str> {
        let subject = self.identity.subject.as_ref();
        let value = match placeholder {
            Placeholder::Name => self.name,
            Placeholder::Spiffe => self.identity.spiffe.as_deref(),
            Placeholder::Dns => self.identity.dns.as_deref(),
            Placeholder::Subject => subject.map(|subject| subject.text()),
            Placeholder::SubjectKey(key) => subject?.get(key),
            Placeholder::Sha256 => self.sha256.get_or_init(|| self.identity.sha256_hex()).as_deref(),
            Placeholder::Other(word) => {
                self.captures.iter().find(|(captured, _)| *captured == &**word).map(|(_, value)| *value)
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// Adds the attributes of every client that this one has not of its own. What it lacks a value for is left out.
    fn add_general(&self, general: &'a Stamps, attributes: &mut Vec<(String, String)>) {
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
        templates: &'a Stamps,
        attributes: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Misfit> {
        let attribute =
            |word: &str| attributes.iter().find(|(key, _)| key == word).map(|(_, value)| value.as_str());
        let mut headers = Vec::with_capacity(templates.len());
        for (name, template) in templates {
            let value = template.render(|placeholder| match placeholder {
                Placeholder::Other(word) => self.get(placeholder).or_else(|| attribute(word)),
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
