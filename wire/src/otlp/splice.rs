//! The splice: one pass over an export request that removes the attributes the gate owns from every Resource, adds the
//! client's, and counts items. Everything else is copied, not decoded: unknown fields survive byte for byte.
//!
//! All four export requests share one shape: field 1 repeats a container (ResourceSpans and its like) whose field 1 is
//! the Resource and whose field 2 repeats the scopes. Source: opentelemetry-proto 1.10.

use std::cell::Cell;
use std::rc::Rc;

use super::owned::{Kind, Owned, Path};
use super::signal::Signal;
use super::wire::{Field, Malformed, Reader, Span, Value, put_bytes, put_uint, put_varint, varint_len};

/// What a client is stamped with, and what no client may say itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Owned keys, shared by all clients of a policy.
    owned: Rc<Owned>,
    /// The client's attributes as fields of a Resource, ready to append.
    fields: Vec<u8>,
}

impl Stamp {
    /// A stamp that removes the attributes `owned` and adds `attributes` as string values.
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
        Stamp { owned: Rc::clone(owned), fields }
    }

    /// The client's attributes, read back from the fields.
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

    /// The same with keys by index into the string table of profiles, in which they come from `first` on; and the keys, as
    /// fields of the dictionary.
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
        (Stamp { owned: Rc::clone(&self.owned), fields }, strings)
    }

    /// What it takes in memory, in bytes, without what it shares with others.
    pub fn size(&self) -> usize {
        self.fields.capacity()
    }

    /// What an attribute's key is, which stands at `at`. Others may cut it at a NUL, or replace or leave out what is not UTF-8,
    /// so it has neither.
    pub(super) fn kind(&self, key: &[u8], at: usize) -> Result<Kind, Malformed> {
        check_key(key, at).map(|()| self.owned.kind(key))
    }

    /// The same for a key in a map, at this path.
    pub(super) fn kind_below(&self, path: Path, key: &[u8], at: usize) -> Result<Kind, Malformed> {
        check_key(key, at).map(|()| self.owned.kind_below(path, key))
    }
}

#[inline]
fn check_key(key: &[u8], at: usize) -> Result<(), Malformed> {
    const ONES: u64 = u64::MAX / 255;
    // The high bit is set in what is not ASCII, and in what is before NUL.
    let plain = |word: u64| (word | word.wrapping_sub(ONES)) & ONES << 7 == 0;
    let (words, rest) = key.as_chunks::<8>();
    let rest = rest.iter().fold(ONES, |word, &byte| word << 8 | u64::from(byte));
    if words.iter().all(|word| plain(u64::from_le_bytes(*word))) && plain(rest) {
        return Ok(());
    }
    match () {
        () if key.contains(&0) => Err(Malformed { what: "an attribute key with a NUL in it", at }),
        () if core::str::from_utf8(key).is_err() => {
            Err(Malformed { what: "an attribute key that is not UTF-8", at })
        }
        () => Ok(()),
    }
}

/// Why a message is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceError {
    /// Not a valid message.
    Malformed(Malformed),
    /// More places to change or to look at than [`MAX_EDITS`] or [`MAX_ATTRIBUTES`].
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

/// The most attributes that the Resources of one message have together, and the most ResourceSpans and their like: an empty
/// one is two bytes, and takes as long to read as many of a span. What is looked into in their values counts as well. A batch of 8192
/// items, a Resource for each, may have 128 a Resource.
pub(super) const MAX_ATTRIBUTES: usize = 1 << 20;

/// How deep lists and maps may be nested in an attribute that may hide an owned one.
pub(super) const MAX_NESTED: usize = 128;

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
    let (stamp, keys) = by_index.as_ref().map_or((stamp, None), |(stamp, keys)| (stamp, Some(keys)));
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
        left: Cell::new(MAX_ATTRIBUTES),
    };
    let mut grown = 0;
    let mut fields = Reader::whole(message);
    while let Some(field) = fields.next()? {
        match (field.number, keys) {
            (1, _) => grown += splicer.container(field.start, field.message()?)?,
            (2, Some(keys)) => grown += splicer.dictionary(field.start, field.message()?, keys)?,
            _ => continue,
        }
        if message.len() as i64 + grown > max_len as i64 {
            return Err(SpliceError::TooLarge);
        }
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
    /// How many attributes, containers and elements of values that are looked into may still come.
    left: Cell<usize>,
}

/// What the gate reads of a KeyValue.
struct KeyValue {
    key: Span,
    index: u64,
    value: Option<Span>,
}

/// What an AnyValue holds, as far as it may hold keys: an ArrayValue or a KeyValueList.
#[derive(Clone, Copy)]
enum Nested {
    List(Span),
    Map(Span),
}

impl Splicer<'_> {
    /// ResourceSpans and its like, whose tag is at `start`. Returns by how many bytes it grows.
    fn container(&mut self, start: usize, body: Span) -> Result<i64, SpliceError> {
        self.one_less()?;
        let header = self.reserve_header(start, body)?;
        let mut grown = 0;
        let (mut stamped, mut scopes) = (false, 0);
        let before = self.items;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    // Some decoders merge two, others keep the last.
                    if stamped {
                        return Err(twice("a second Resource in one entry", &field));
                    }
                    grown += self.resource(field.start, field.message()?)?;
                    stamped = true;
                }
                // Where there is nothing in 2, the Collector takes what is in 1000 (its `MigrateTraces` and the like): scopes
                // as they were before OTLP 1.0, in a field that is reserved since.
                number @ (2 | 1000) => {
                    if scopes != number && scopes != 0 {
                        return Err(twice(
                            "scopes in a field of today's and in one of before OTLP 1.0",
                            &field,
                        ));
                    }
                    scopes = number;
                    self.items += self.count(field.message()?, self.item_fields)?;
                }
                // protobufjs 6 and 7 read a known field as what it should be, whatever its wire type is.
                3 => drop(field.message()?),
                _ => {}
            }
        }
        self.empty_entries += u64::from(self.items == before);
        if !stamped && !self.stamp.fields.is_empty() {
            let insert = self.put(|patch, stamp| put_bytes(patch, 1, stamp));
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += (insert.end - insert.start) as i64;
        }
        Ok(self.fill_header(header, 1, body, grown))
    }

    /// ProfilesDictionary, whose tag is at `start`, gets `strings` at its end. Returns by how many bytes it grows.
    fn dictionary(&mut self, start: usize, body: Span, strings: &[u8]) -> Result<i64, SpliceError> {
        let header = self.reserve_header(start, body)?;
        let insert = self.put(|patch, _| patch.extend_from_slice(strings));
        self.edit(Edit { at: body.end, remove: 0, insert })?;
        Ok(self.fill_header(header, 2, body, strings.len() as i64))
    }

    /// A Resource whose tag is at `start`. Returns by how many bytes it grows.
    fn resource(&mut self, start: usize, body: Span) -> Result<i64, SpliceError> {
        let header = self.reserve_header(start, body)?;
        let mut grown = 0;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next()? {
            match field.number {
                // dropped_attributes_count, entity_refs
                2 => drop(fields.varint32(&field)?),
                3 => drop(field.message()?),
                _ => {}
            }
            if field.number == 1 {
                let attribute = field.message()?;
                self.one_less()?;
                if self.is_owned(attribute)? {
                    let insert = Span { start: 0, end: 0 };
                    self.edit(Edit { at: field.start, remove: attribute.end - field.start, insert })?;
                    grown -= (attribute.end - field.start) as i64;
                    self.removed += 1;
                }
            }
        }
        if !self.stamp.fields.is_empty() {
            let insert = Span { start: 0, end: self.stamp.fields.len() };
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += insert.end as i64;
        }
        Ok(self.fill_header(header, 1, body, grown))
    }

    fn one_less(&self) -> Result<(), SpliceError> {
        self.left.set(self.left.get().checked_sub(1).ok_or(SpliceError::TooManyEdits)?);
        Ok(())
    }

    /// Whether a KeyValue's key is owned, or the path to one in its value.
    fn is_owned(&self, attribute: Span) -> Result<bool, SpliceError> {
        if attribute.start == attribute.end {
            return Ok(false);
        }
        let KeyValue { key, index, value } = self.key_value(attribute)?;
        let nested = value.map(|value| self.any_value(value)).transpose()?.flatten();
        let kind = self.stamp.kind(self.bytes(key), key.start)?;
        let kind = match &self.owned_indexes {
            Some(indexes) if index != 0 => indexes.kind(index, self.bytes(key), attribute.start)?,
            _ => kind,
        };
        match (kind, nested) {
            (Kind::Owned, _) => Ok(true),
            (Kind::Part(path), Some(nested)) => self.hides_owned(nested, path),
            _ => Ok(false),
        }
    }

    /// Reads a KeyValue. What it has twice, some decoders take the first of and others the last.
    fn key_value(&self, attribute: Span) -> Result<KeyValue, Malformed> {
        // Nearly all are a short key, then a short value.
        if let [0x0a, len @ ..0x80, rest @ ..] = self.bytes(attribute)
            && let Some((_, [0x12, value_len @ ..0x80, value @ ..])) =
                rest.split_at_checked(usize::from(*len))
            && value.len() == usize::from(*value_len)
        {
            let start = attribute.start + 2;
            let key = Span { start, end: start + usize::from(*len) };
            return Ok(KeyValue {
                key,
                index: 0,
                value: Some(Span { start: key.end + 2, end: attribute.end }),
            });
        }
        let (mut key, mut index, mut value) = (None, None, None);
        let mut fields = Reader::new(self.message, attribute);
        while let Some(field) = fields.next()? {
            let seen = match field.number {
                1 => key.replace(field.message()?).is_some(),
                2 => value.replace(field.message()?).is_some(),
                3 => index.replace(fields.varint32(&field)?).is_some(),
                _ => false,
            };
            if seen {
                return Err(Malformed { what: "an attribute with two keys or two values", at: field.start });
            }
        }
        let key = key.unwrap_or(Span { start: attribute.start, end: attribute.start });
        Ok(KeyValue { key, index: index.unwrap_or(0), value })
    }

    /// Reads an AnyValue, which has one member: of several, some decoders take the first, some the last, some merge them.
    fn any_value(&self, value: Span) -> Result<Option<Nested>, Malformed> {
        // Nearly all are short texts.
        if let [0x0a, len @ ..0x80, text @ ..] = self.bytes(value)
            && text.len() == usize::from(*len)
        {
            return Ok(None);
        }
        let (mut seen, mut nested) = (false, None);
        let mut fields = Reader::new(self.message, value);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1 | 7, Value::Len(_)) | (3, Value::Varint(_)) | (4, Value::Fixed64) => {}
                // A bool and an index.
                (2 | 8, Value::Varint(_)) => drop(fields.varint32(&field)?),
                (5, Value::Len(span)) => nested = Some(Nested::List(span)),
                (6, Value::Len(span)) => nested = Some(Nested::Map(span)),
                (1..=8, _) => {
                    return Err(Malformed {
                        what: "an attribute's value with the wrong wire type",
                        at: field.start,
                    });
                }
                _ => continue,
            }
            if core::mem::replace(&mut seen, true) {
                return Err(Malformed { what: "an attribute's value that is two", at: field.start });
            }
        }
        Ok(nested)
    }

    /// Whether there is an owned name on some path through the lists and maps of a value.
    fn hides_owned(&self, nested: Nested, path: Path) -> Result<bool, SpliceError> {
        let mut open = Vec::new();
        let mut next = Some((nested, path));
        loop {
            if let Some((nested, path)) = next.take() {
                let (span, map) = match nested {
                    Nested::List(span) => (span, false),
                    Nested::Map(span) => (span, true),
                };
                if open.len() == MAX_NESTED {
                    let what = "an attribute nested too deeply";
                    return Err(Malformed { what, at: span.start }.into());
                }
                open.push((Reader::new(self.message, span), map, path));
            }
            let Some((fields, map, path)) = open.last_mut() else { return Ok(false) };
            let Some(field) = fields.next()? else {
                open.pop();
                continue;
            };
            self.one_less()?;
            if field.number != 1 {
                continue;
            }
            let span = field.message()?;
            if !*map {
                next = self.any_value(span)?.map(|nested| (nested, *path));
                continue;
            }
            let KeyValue { key, index, value } = self.key_value(span)?;
            let nested = value.map(|value| self.any_value(value)).transpose()?.flatten();
            match self.stamp.kind_below(*path, self.bytes(key), key.start)? {
                Kind::Owned => return Ok(true),
                // What else is in this attribute need not be known.
                _ if index != 0 && self.owned_indexes.is_some() => return Ok(true),
                Kind::Part(path) => next = nested.map(|nested| (nested, path)),
                Kind::Free => {}
            }
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.message.get(span.start..span.end).unwrap_or_default()
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

    /// Writes the reserved header of a message of this field that grew by `grown` bytes; drops it if nothing changed in it.
    fn fill_header(&mut self, header: usize, number: u8, body: Span, grown: i64) -> i64 {
        if self.edits.len() == header + 1 {
            self.edits.truncate(header);
            return 0;
        }
        let len = ((body.end - body.start) as i64 + grown) as u64;
        let insert = self.put(|patch, _| {
            patch.push(number << 3 | 2);
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

#[cold]
fn twice(what: &'static str, field: &Field) -> SpliceError {
    Malformed { what, at: field.start }.into()
}

/// Profiles may spell a key as an index into the dictionary's string table: which strings are not just any.
#[derive(Default)]
pub(super) struct OwnedIndexes {
    /// By index, in order; none for what can be no key.
    indexes: Vec<(u32, Option<Kind>)>,
    strings: usize,
}

/// The most strings of a table that are not just any; by the format, each string is there once.
const MAX_SPELLINGS: usize = 1 << 18;

impl OwnedIndexes {
    /// Reads ExportProfilesServiceRequest.dictionary (2) and ProfilesDictionary.string_table (5), wherever they stand.
    fn read(message: &[u8], stamp: &Stamp) -> Result<Self, SpliceError> {
        let mut found = OwnedIndexes::default();
        let mut seen = false;
        let mut fields = Reader::whole(message);
        while let Some(field) = fields.next()? {
            if field.number != 2 {
                continue;
            }
            if core::mem::replace(&mut seen, true) {
                return Err(twice("a second dictionary", &field));
            }
            let mut dictionary = Reader::new(message, field.message()?);
            while let Some(field) = dictionary.next()? {
                // All tables of the dictionary are messages or strings.
                let span = if field.number <= 7 { field.message()? } else { continue };
                if field.number == 5 {
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
        let kind = stamp.kind(string, at).ok();
        if self.strings > 0 && kind != Some(Kind::Free) {
            if self.indexes.len() == MAX_SPELLINGS {
                return Err(Malformed { what: "a string table with too many spellings of owned names", at });
            }
            self.indexes.push((self.strings as u32, kind));
        }
        self.strings += 1;
        Ok(())
    }

    /// What the key of the KeyValue at `at` is, with this key, of which there may be none, and this key_strindex, which is not 0.
    pub(super) fn kind(&self, index: u64, key: &[u8], at: usize) -> Result<Kind, Malformed> {
        // common.proto: "key MUST NOT be set if key_strindex is used"; which one counts is anybody's guess.
        if !key.is_empty() {
            return Err(Malformed { what: "an attribute with both key and key_strindex", at });
        }
        let Some(index) = u32::try_from(index).ok().filter(|&index| (index as usize) < self.strings) else {
            return Err(Malformed { what: "a key_strindex outside of the string table", at });
        };
        match self.indexes.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(found) => {
                let kind = self.indexes.get(found).and_then(|(_, kind)| *kind);
                kind.ok_or(Malformed { what: "an attribute key that is not UTF-8, or has a NUL in it", at })
            }
            Err(_) => Ok(Kind::Free),
        }
    }
}

#[cfg(test)]
mod tests;
