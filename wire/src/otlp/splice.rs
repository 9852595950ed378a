//! The splice: one pass over an export request that removes the attributes the gate owns from every Resource, adds the
//! client's, and counts items. Everything else is copied, not decoded: unknown fields survive byte for byte.
//!
//! All four export requests share one shape: field 1 repeats a container (ResourceSpans and its like) whose field 1 is
//! the Resource and whose field 2 repeats the scopes. Source: opentelemetry-proto 1.10.

use std::rc::Rc;

use super::signal::Signal;
use super::wire::{Malformed, Reader, Span, put_bytes, put_uint, put_varint, varint_len};

/// What a client is stamped with, and what no client may say itself.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Owned keys, shared by all clients of a policy.
    owned: Rc<[Vec<u8>]>,
    /// The client's attributes as fields of a Resource, ready to append.
    fields: Vec<u8>,
}

impl Stamp {
    /// A stamp that removes the attributes `owned` and adds `attributes` as string values.
    pub fn new<'a>(owned: &Rc<[Vec<u8>]>, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
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
        Stamp { owned: Rc::clone(owned), fields }
    }

    /// The client's attributes, read back from the fields.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
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

    /// The same with keys by index into the string table of profiles, in which they come from `first` on; and the table's
    /// new strings, as a second dictionary, which is merged with the first.
    fn by_index(&self, first: usize) -> (Stamp, Vec<u8>) {
        let (mut fields, mut strings) = (Vec::new(), Vec::new());
        for (index, (key, value)) in (first..).zip(self.attributes()) {
            let (mut any_value, mut key_value) = (Vec::new(), Vec::new());
            put_bytes(&mut any_value, 1, value.as_bytes());
            put_bytes(&mut key_value, 2, &any_value);
            put_uint(&mut key_value, 3, index as u64);
            put_bytes(&mut fields, 1, &key_value);
            put_bytes(&mut strings, 5, key.as_bytes());
        }
        let mut dictionary = Vec::new();
        put_bytes(&mut dictionary, 2, &strings);
        (Stamp { owned: Rc::clone(&self.owned), fields }, dictionary)
    }

    /// What it takes in memory, in bytes, without what it shares with others.
    pub fn size(&self) -> usize {
        self.fields.capacity()
    }

    pub(super) fn owns(&self, key: &[u8]) -> bool {
        self.owned.iter().any(|owned| owned == key)
    }
}

/// Why a message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceError {
    /// Not a valid message.
    Malformed(Malformed),
    /// More places to change than [`MAX_EDITS`].
    TooManyEdits,
    /// Stamped, it would be larger than the limit.
    TooLarge,
}

impl From<Malformed> for SpliceError {
    fn from(malformed: Malformed) -> Self {
        SpliceError::Malformed(malformed)
    }
}

/// The most places in which one message is changed. A container of two bytes grows by a whole stamp, so without a bound
/// a small message could fill the worker's memory. Real exporters stay far below: a batch has at most a Resource per item.
pub const MAX_EDITS: usize = 1 << 17;

/// The outcome: a list of edits to the message, so that what does not change need not be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    edits: Vec<Edit>,
    patch: Vec<u8>,
    /// The length of the stamped message in bytes.
    pub len: usize,
    /// Spans, data points, log records or samples.
    pub items: u64,
    /// Attributes that the client wrote and the gate owns.
    pub removed: u64,
    /// ResourceSpans and their like that hold no items.
    pub empty_entries: u64,
}

/// Replace `message[at..at + remove]` by a range of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) remove: usize,
    pub(super) insert: Span,
}

/// Adds an edit, within the bound.
pub(super) fn push(edits: &mut Vec<Edit>, edit: Edit) -> Result<(), SpliceError> {
    if edits.len() >= MAX_EDITS {
        return Err(SpliceError::TooManyEdits);
    }
    edits.push(edit);
    Ok(())
}

impl Splice {
    /// The outcome of `edits`, in order, to `message`, with nothing counted yet.
    pub(super) fn new(
        message: &[u8],
        edits: Vec<Edit>,
        patch: Vec<u8>,
        max_len: usize,
    ) -> Result<Splice, SpliceError> {
        let grown = |edit: &Edit| (edit.insert.end - edit.insert.start) as i64 - edit.remove as i64;
        let len = message.len() as i64 + edits.iter().map(grown).sum::<i64>();
        let len = usize::try_from(len).ok().filter(|&len| len <= max_len).ok_or(SpliceError::TooLarge)?;
        Ok(Splice { edits, patch, len, items: 0, removed: 0, empty_entries: 0 })
    }

    /// The stamped message in pieces, in order: parts of `message`, which must be the one that was spliced, and new bytes.
    pub fn pieces<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut from = 0;
        let edits = self.edits.iter().flat_map(move |edit| {
            let kept = message.get(from..edit.at).unwrap_or_default();
            from = edit.at + edit.remove;
            [kept, self.patch.get(edit.insert.start..edit.insert.end).unwrap_or_default()]
        });
        let tail = self.edits.last().map_or(0, |edit| edit.at + edit.remove);
        edits.chain([message.get(tail..).unwrap_or_default()]).filter(|piece| !piece.is_empty())
    }
}

/// Stamps the export request `message`. `max_len` bounds the stamped message, in bytes.
pub fn splice(signal: Signal, message: &[u8], stamp: &Stamp, max_len: usize) -> Result<Splice, SpliceError> {
    let owned_indexes = match signal {
        Signal::Profiles => Some(OwnedIndexes::read(message, stamp)?),
        _ => None,
    };
    // Where there is a table, the Collector (0.155) takes an attribute's key from it, be its index 0.
    let strings = owned_indexes.as_ref().map_or(0, OwnedIndexes::strings);
    let by_index = (strings > 0 && !stamp.fields.is_empty()).then(|| stamp.by_index(strings));
    let stamp = by_index.as_ref().map_or(stamp, |(stamp, _)| stamp);
    let mut splicer = Splicer {
        message,
        stamp,
        item_fields: signal.item_fields(),
        owned_indexes,
        edits: Vec::new(),
        patch: stamp.fields.clone(),
        items: 0,
        removed: 0,
        empty_entries: 0,
    };
    let mut grown = 0;
    let mut fields = Reader::whole(message);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            grown += splicer.container(field.start, field.message()?)?;
            if message.len() as i64 + grown > max_len as i64 {
                return Err(SpliceError::TooLarge);
            }
        }
    }
    if let Some((_, dictionary)) = by_index.as_ref().filter(|_| !splicer.edits.is_empty()) {
        let insert = splicer.put(|patch, _| patch.extend_from_slice(dictionary));
        splicer.edit(Edit { at: message.len(), remove: 0, insert })?;
        grown += dictionary.len() as i64;
    }
    let Splicer { edits, patch, items, removed, empty_entries, .. } = splicer;
    let len = (message.len() as i64 + grown) as usize;
    if len > max_len {
        return Err(SpliceError::TooLarge);
    }
    Ok(Splice { edits, patch, len, items, removed, empty_entries })
}

struct Splicer<'a> {
    message: &'a [u8],
    stamp: &'a Stamp,
    item_fields: &'static [&'static [u32]],
    owned_indexes: Option<OwnedIndexes>,
    edits: Vec<Edit>,
    /// Starts with the stamp's fields; then what else is inserted.
    patch: Vec<u8>,
    items: u64,
    removed: u64,
    empty_entries: u64,
}

impl Splicer<'_> {
    /// ResourceSpans and its like, whose tag is at `start`. Returns by how many bytes it grows.
    fn container(&mut self, start: usize, body: Span) -> Result<i64, SpliceError> {
        let header = self.reserve_header(start, body)?;
        let mut grown = 0;
        let mut stamped = false;
        let before = self.items;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    // Several Resources in one container are merged, so the first one carries the stamp for all.
                    grown += self.resource(field.start, field.message()?, !stamped)?;
                    stamped = true;
                }
                // Where there is nothing in 2, the Collector takes what is in 1000 (its `MigrateTraces` and the like): scopes
                // as they were before OTLP 1.0, in a field that is reserved since.
                2 | 1000 => self.items += self.count(field.message()?, self.item_fields)?,
                _ => {}
            }
        }
        self.empty_entries += u64::from(self.items == before);
        if !stamped && !self.stamp.fields.is_empty() {
            let insert = self.put(|patch, stamp| put_bytes(patch, 1, stamp));
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += (insert.end - insert.start) as i64;
        }
        Ok(self.fill_header(header, body, grown))
    }

    /// A Resource whose tag is at `start`. Returns by how many bytes it grows.
    fn resource(&mut self, start: usize, body: Span, stamp: bool) -> Result<i64, SpliceError> {
        let header = self.reserve_header(start, body)?;
        let mut grown = 0;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                let attribute = field.message()?;
                if self.is_owned(attribute)? {
                    let insert = Span { start: 0, end: 0 };
                    self.edit(Edit { at: field.start, remove: attribute.end - field.start, insert })?;
                    grown -= (attribute.end - field.start) as i64;
                    self.removed += 1;
                }
            }
        }
        if stamp && !self.stamp.fields.is_empty() {
            let insert = Span { start: 0, end: self.stamp.fields.len() };
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += insert.end as i64;
        }
        Ok(self.fill_header(header, body, grown))
    }

    /// Whether a KeyValue's key is owned. A field that repeats counts with its last value, as in every decoder.
    fn is_owned(&self, attribute: Span) -> Result<bool, Malformed> {
        let mut key = Span { start: 0, end: 0 };
        let mut index = 0;
        let mut fields = Reader::new(self.message, attribute);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => key = field.message()?,
                2 => drop(field.message()?),
                3 if self.owned_indexes.is_some() => index = field.varint()? as i32,
                _ => {}
            }
        }
        let bytes = self.message.get(key.start..key.end).unwrap_or_default();
        if core::str::from_utf8(bytes).is_err() {
            return Err(Malformed { what: "an attribute key that is not UTF-8", at: key.start });
        }
        match &self.owned_indexes {
            Some(indexes) => indexes.owned(self.stamp, bytes, index, attribute.start),
            None => Ok(self.stamp.owns(bytes)),
        }
    }

    /// The items below `body`, down the remaining levels of fields.
    fn count(&self, body: Span, levels: &[&[u32]]) -> Result<u64, Malformed> {
        let Some((wanted, below)) = levels.split_first() else { return Ok(1) };
        let mut items = 0;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next_here()? {
            if wanted.contains(&field.number) {
                let span = field.message()?;
                items += if below.is_empty() { 1 } else { self.count(span, below)? };
            }
        }
        Ok(items)
    }

    /// Keeps a place among the edits for a message's new header, which is known only after its content.
    fn reserve_header(&mut self, start: usize, body: Span) -> Result<usize, SpliceError> {
        self.edit(Edit { at: start, remove: body.start - start, insert: Span { start: 0, end: 0 } })?;
        Ok(self.edits.len() - 1)
    }

    /// Writes the reserved header of a message of field 1 that grew by `grown` bytes; drops it if nothing changed in it.
    fn fill_header(&mut self, header: usize, body: Span, grown: i64) -> i64 {
        if self.edits.len() == header + 1 {
            self.edits.truncate(header);
            return 0;
        }
        let len = ((body.end - body.start) as i64 + grown) as u64;
        let insert = self.put(|patch, _| {
            patch.push(1 << 3 | 2);
            put_varint(patch, len);
        });
        let Some(edit) = self.edits.get_mut(header) else { return grown };
        edit.insert = insert;
        grown + 1 + varint_len(len) as i64 - edit.remove as i64
    }

    /// Appends to the patch; the closure sees the stamp's fields.
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>, &[u8])) -> Span {
        let start = self.patch.len();
        write(&mut self.patch, &self.stamp.fields);
        Span { start, end: self.patch.len() }
    }

    fn edit(&mut self, edit: Edit) -> Result<(), SpliceError> {
        push(&mut self.edits, edit)
    }
}

/// Profiles may spell a key as an index into the dictionary's string table: the indexes that spell an owned key.
#[derive(Default)]
pub(super) struct OwnedIndexes {
    indexes: Vec<usize>,
    strings: usize,
}

impl OwnedIndexes {
    /// Reads ExportProfilesServiceRequest.dictionary (2) and ProfilesDictionary.string_table (5), wherever they stand.
    fn read(message: &[u8], stamp: &Stamp) -> Result<Self, Malformed> {
        let mut found = OwnedIndexes::default();
        let mut fields = Reader::whole(message);
        while let Some(field) = fields.next()? {
            if field.number != 2 {
                continue;
            }
            let mut dictionary = Reader::new(message, field.message()?);
            while let Some(field) = dictionary.next()? {
                if field.number == 5 {
                    let span = field.message()?;
                    found.add(message.get(span.start..span.end).unwrap_or_default(), stamp, span.start)?;
                }
            }
        }
        Ok(found)
    }

    /// How many strings the table has.
    pub(super) fn strings(&self) -> usize {
        self.strings
    }

    /// Adds the next string of the table, which stands at `at`. The first is empty (profiles.proto: "string_table[0] must
    /// always be """): the Collector (0.155) takes it for the key of every attribute without an index, so that any other
    /// could forge one.
    pub(super) fn add(&mut self, string: &[u8], stamp: &Stamp, at: usize) -> Result<(), Malformed> {
        if self.strings == 0 && !string.is_empty() {
            return Err(Malformed { what: "a string table that does not begin with an empty string", at });
        }
        if stamp.owns(string) {
            self.indexes.push(self.strings);
        }
        self.strings += 1;
        Ok(())
    }

    /// Whether the KeyValue at `at` with this key and key_strindex has an owned key.
    pub(super) fn owned(&self, stamp: &Stamp, key: &[u8], index: i32, at: usize) -> Result<bool, Malformed> {
        if index == 0 {
            return Ok(stamp.owns(key));
        }
        // common.proto: "key MUST NOT be set if key_strindex is used"; which one counts is anybody's guess.
        if !key.is_empty() {
            return Err(Malformed { what: "an attribute with both key and key_strindex", at });
        }
        match usize::try_from(index).ok().filter(|&index| index < self.strings) {
            Some(index) => Ok(self.indexes.binary_search(&index).is_ok()),
            None => Err(Malformed { what: "a key_strindex outside of the string table", at }),
        }
    }
}

#[cfg(test)]
mod tests;
