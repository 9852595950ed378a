//! The resource attributes that the filter sets for a client, and the check of attribute keys.

use std::rc::Rc;

use super::owned::{KeyKind, Owned, Prefix};
use super::protobuf::{Malformed, Reader, Span, put_bytes, put_uint};

/// The resource attributes of a client, and the owned keys that no client may set itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceAttributes {
    /// The owned keys, shared by all clients of a policy.
    owned: Rc<Owned>,
    /// The client's attributes as protobuf fields of a Resource, ready to append.
    fields: Vec<u8>,
}

impl ResourceAttributes {
    /// Sets `attributes`, which are pairs of a key and a string value, and removes all other attributes with `owned`
    /// keys.
    pub fn new<'a>(owned: &Rc<Owned>, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut fields = Vec::new();
        let (mut any_value, mut key_value) = (Vec::new(), Vec::new());
        for (key, value) in attributes {
            any_value.clear();
            put_bytes(&mut any_value, 1, value.as_bytes());
            key_value.clear();
            put_bytes(&mut key_value, 1, key.as_bytes());
            put_bytes(&mut key_value, 2, &any_value);
            put_bytes(&mut fields, 1, &key_value);
        }
        ResourceAttributes { owned: Rc::clone(owned), fields }
    }

    /// The client's attributes: keys and values, read back from the fields.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |span: Span| {
            core::str::from_utf8(self.fields.get(span.start..span.end).unwrap_or_default())
                .unwrap_or_default()
        };
        let inner = |span: Span| Reader::new(&self.fields, span).next().ok().flatten()?.message().ok();
        let mut fields = Reader::whole(&self.fields);
        core::iter::from_fn(move || {
            let mut key_value = Reader::new(&self.fields, fields.next().ok().flatten()?.message().ok()?);
            let key = key_value.next().ok().flatten()?.message().ok()?;
            let value = inner(key_value.next().ok().flatten()?.message().ok()?)?;
            Some((text(key), text(value)))
        })
    }

    /// The client's attributes as protobuf fields of a Resource.
    pub(super) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The same attributes with keys by index into the string table of profiles, where they begin at index `first`.
    /// Also returns the keys, as fields of the dictionary.
    pub(super) fn by_index(&self, first: usize) -> (ResourceAttributes, Vec<u8>) {
        let (mut fields, mut strings) = (Vec::new(), Vec::new());
        for (index, (key, value)) in (first..).zip(self.attributes()) {
            let (mut any_value, mut key_value) = (Vec::new(), Vec::new());
            put_bytes(&mut any_value, 1, value.as_bytes());
            put_bytes(&mut key_value, 2, &any_value);
            put_uint(&mut key_value, 3, index as u64);
            put_bytes(&mut fields, 1, &key_value);
            put_bytes(&mut strings, 5, key.as_bytes());
        }
        (ResourceAttributes { owned: Rc::clone(&self.owned), fields }, strings)
    }

    /// Its size in memory, in bytes, without what it shares with other clients.
    pub fn size(&self) -> usize {
        self.fields.capacity()
    }

    /// Whether the key of an attribute, at offset `at` of the message, is owned.
    ///
    /// # Errors
    /// The key is not UTF-8, or contains NUL. Other decoders cut a key at NUL, and replace or drop what is not UTF-8.
    pub(super) fn kind(&self, key: &[u8], at: usize) -> Result<KeyKind, Malformed> {
        check_key(key, at).map(|()| self.owned.kind(key))
    }

    /// Whether a key in a map is owned, below a prefix of an owned key.
    ///
    /// # Errors
    /// As for [`ResourceAttributes::kind`].
    pub(super) fn kind_below(&self, prefix: Prefix, key: &[u8], at: usize) -> Result<KeyKind, Malformed> {
        check_key(key, at).map(|()| self.owned.kind_below(prefix, key))
    }
}

#[inline]
fn check_key(key: &[u8], at: usize) -> Result<(), Malformed> {
    const ONES: u64 = u64::MAX / 255;
    // The high bit is set for bytes that are not ASCII, and for the byte before a NUL.
    let plain = |word: u64| (word | word.wrapping_sub(ONES)) & ONES << 7 == 0;
    let (words, rest) = key.as_chunks::<8>();
    let rest = rest.iter().fold(ONES, |word, &byte| word << 8 | u64::from(byte));
    if words.iter().all(|word| plain(u64::from_le_bytes(*word))) && plain(rest) {
        return Ok(());
    }
    match () {
        () if key.contains(&0) => Err(Malformed { what: "attribute key contains NUL", at }),
        () if core::str::from_utf8(key).is_err() => Err(Malformed { what: "attribute key is not UTF-8", at }),
        () => Ok(()),
    }
}
