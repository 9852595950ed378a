//! The splice of a protobuf message: one pass that removes the owned attributes from every Resource, sets the client's,
//! and counts items. Everything else stays byte for byte, unknown fields included.
//!
//! The four export requests have one shape. Field 1 repeats an entry (ResourceSpans and the like). Field 1 of an entry
//! is the Resource, field 2 repeats the scopes. Source: opentelemetry-proto 1.10.

use std::cell::Cell;

use super::{Field, Malformed, Reader, Span, Value, put_bytes, put_varint, varint_len};
use crate::otlp::owned::{KeyKind, Prefix};
use crate::otlp::resource_attributes::ResourceAttributes;
use crate::otlp::signal::Signal;
use crate::otlp::splice::{Counts, Edit, MAX_ATTRIBUTES, MAX_NESTED, Splice, SpliceError, push};
use crate::otlp::string_table::StringTable;

/// Sets `attributes` in every Resource of the export request `message`, which is protobuf. The message to forward is at
/// most `max_len` bytes long.
///
/// # Errors
/// See [`SpliceError`].
pub fn splice(
    signal: Signal,
    message: &[u8],
    attributes: &ResourceAttributes,
    max_len: usize,
) -> Result<Splice, SpliceError> {
    let table = match signal {
        Signal::Profiles => Some(string_table(message, attributes)?),
        _ => None,
    };
    // Where there is a string table, the Collector (0.155) takes every attribute's key from it, even by index 0.
    let strings = table.as_ref().map_or(0, StringTable::len);
    let by_index = (strings > 0 && !attributes.fields().is_empty()).then(|| attributes.by_index(strings));
    let (attributes, keys) =
        by_index.as_ref().map_or((attributes, None), |(attributes, keys)| (attributes, Some(keys)));
    let mut splicer = Splicer {
        message,
        attributes,
        item_fields: signal.item_fields(),
        table,
        edits: Vec::new(),
        patch: attributes.fields().to_vec(),
        counts: Counts::default(),
        budget: Cell::new(MAX_ATTRIBUTES),
    };
    let mut grown = 0;
    let mut fields = Reader::whole(message);
    while let Some(field) = fields.next()? {
        match (field.number, keys) {
            (1, _) => grown += splicer.entry(field.start, field.message()?)?,
            (2, Some(keys)) => grown += splicer.dictionary(field.start, field.message()?, keys)?,
            _ => continue,
        }
        if message.len() as i64 + grown > max_len as i64 {
            return Err(SpliceError::TooLarge);
        }
    }
    let Splicer { edits, patch, counts, .. } = splicer;
    Splice::new(edits, patch, message.len() as i64 + grown, max_len, counts)
}

struct Splicer<'a> {
    message: &'a [u8],
    attributes: &'a ResourceAttributes,
    item_fields: &'static [&'static [u32]],
    /// The string table of profiles.
    table: Option<StringTable>,
    edits: Vec<Edit>,
    /// Begins with the fields of the client's attributes. Other inserted bytes follow.
    patch: Vec<u8>,
    counts: Counts,
    /// How many more attributes, entries and elements of values may be read.
    budget: Cell<usize>,
}

/// What the filter reads of a KeyValue.
struct KeyValue {
    key: Span,
    index: u64,
    value: Option<Span>,
}

/// The kinds of AnyValue that can hold keys: an ArrayValue and a KeyValueList.
#[derive(Clone, Copy)]
enum Nested {
    List(Span),
    Map(Span),
}

impl Splicer<'_> {
    /// Edits an entry (ResourceSpans and the like), whose tag is at `start`. Returns by how many bytes it grows.
    fn entry(&mut self, start: usize, body: Span) -> Result<i64, SpliceError> {
        self.spend()?;
        let header = self.reserve_header(start, body)?;
        let mut grown = 0;
        let (mut has_resource, mut scopes) = (false, 0);
        let before = self.counts.items;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    // Some decoders merge two Resources, others keep the last.
                    if has_resource {
                        return Err(malformed("more than one Resource in an entry", &field));
                    }
                    grown += self.resource(field.start, field.message()?)?;
                    has_resource = true;
                }
                // If field 2 is empty, the Collector reads field 1000 (its `MigrateTraces` and the like): the scopes
                // before OTLP 1.0, in a field that is reserved since.
                number @ (2 | 1000) => {
                    if scopes != number && scopes != 0 {
                        return Err(malformed(
                            "scopes in both field 2 and the deprecated field 1000",
                            &field,
                        ));
                    }
                    scopes = number;
                    self.counts.items += self.count(field.message()?, self.item_fields)?;
                }
                // protobufjs 6 and 7 read a known field as its declared type, whatever its wire type is.
                3 => drop(field.message()?),
                _ => {}
            }
        }
        self.counts.empty_entries += u64::from(self.counts.items == before);
        if !has_resource && !self.attributes.fields().is_empty() {
            let insert = self.append(|patch, attributes| put_bytes(patch, 1, attributes));
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += (insert.end - insert.start) as i64;
        }
        Ok(self.fill_header(header, 1, body, grown))
    }

    /// Appends `strings` to the ProfilesDictionary, whose tag is at `start`. Returns by how many bytes it grows.
    fn dictionary(&mut self, start: usize, body: Span, strings: &[u8]) -> Result<i64, SpliceError> {
        let header = self.reserve_header(start, body)?;
        let insert = self.append(|patch, _| patch.extend_from_slice(strings));
        self.edit(Edit { at: body.end, remove: 0, insert })?;
        Ok(self.fill_header(header, 2, body, strings.len() as i64))
    }

    /// Edits a Resource, whose tag is at `start`. Returns by how many bytes it grows.
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
                self.spend()?;
                if self.is_owned(attribute)? {
                    let insert = Span { start: 0, end: 0 };
                    self.edit(Edit { at: field.start, remove: attribute.end - field.start, insert })?;
                    grown -= (attribute.end - field.start) as i64;
                    self.counts.removed += 1;
                }
            }
        }
        if !self.attributes.fields().is_empty() {
            let insert = Span { start: 0, end: self.attributes.fields().len() };
            self.edit(Edit { at: body.end, remove: 0, insert })?;
            grown += insert.end as i64;
        }
        Ok(self.fill_header(header, 1, body, grown))
    }

    /// Takes one from the budget.
    fn spend(&self) -> Result<(), SpliceError> {
        self.budget.set(self.budget.get().checked_sub(1).ok_or(SpliceError::TooManyEdits)?);
        Ok(())
    }

    /// Whether the key of a KeyValue is owned, or a key in its value together with the keys above it.
    fn is_owned(&self, attribute: Span) -> Result<bool, SpliceError> {
        if attribute.start == attribute.end {
            return Ok(false);
        }
        let KeyValue { key, index, value } = self.key_value(attribute)?;
        let nested = value.map(|value| self.any_value(value)).transpose()?.flatten();
        let kind = self.attributes.kind(self.bytes(key), key.start)?;
        let kind = match &self.table {
            Some(table) if index != 0 => table.kind(index, self.bytes(key), attribute.start)?,
            _ => kind,
        };
        match (kind, nested) {
            (KeyKind::Owned, _) => Ok(true),
            (KeyKind::Prefix(prefix), Some(nested)) => self.hides_owned(nested, prefix),
            _ => Ok(false),
        }
    }

    /// Reads a KeyValue. Of a field that occurs twice, some decoders take the first and others the last, so that is an
    /// error.
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
                return Err(Malformed { what: "attribute has more than one key or value", at: field.start });
            }
        }
        let key = key.unwrap_or(Span { start: attribute.start, end: attribute.start });
        Ok(KeyValue { key, index: index.unwrap_or(0), value })
    }

    /// Reads an AnyValue, which has one member. Of several, some decoders take the first, some the last, and some merge
    /// them, so that is an error.
    fn any_value(&self, value: Span) -> Result<Option<Nested>, Malformed> {
        // Nearly all are short strings.
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
                // bool_value, string_value_strindex
                (2 | 8, Value::Varint(_)) => drop(fields.varint32(&field)?),
                (5, Value::Len(span)) => nested = Some(Nested::List(span)),
                (6, Value::Len(span)) => nested = Some(Nested::Map(span)),
                (1..=8, _) => {
                    return Err(Malformed { what: "wrong wire type in an attribute value", at: field.start });
                }
                _ => continue,
            }
            if core::mem::replace(&mut seen, true) {
                return Err(Malformed { what: "attribute value has more than one member", at: field.start });
            }
        }
        Ok(nested)
    }

    /// Whether a path of keys through the lists and maps of a value is an owned key. The keys above them make `prefix`.
    fn hides_owned(&self, nested: Nested, prefix: Prefix) -> Result<bool, SpliceError> {
        let mut open = Vec::new();
        let mut next = Some((nested, prefix));
        loop {
            if let Some((nested, prefix)) = next.take() {
                let (span, map) = match nested {
                    Nested::List(span) => (span, false),
                    Nested::Map(span) => (span, true),
                };
                if open.len() == MAX_NESTED {
                    let what = "attribute value nested too deeply";
                    return Err(Malformed { what, at: span.start }.into());
                }
                open.push((Reader::new(self.message, span), map, prefix));
            }
            let Some((fields, map, prefix)) = open.last_mut() else { return Ok(false) };
            let Some(field) = fields.next()? else {
                open.pop();
                continue;
            };
            self.spend()?;
            if field.number != 1 {
                continue;
            }
            let span = field.message()?;
            if !*map {
                next = self.any_value(span)?.map(|nested| (nested, *prefix));
                continue;
            }
            let KeyValue { key, index, value } = self.key_value(span)?;
            let nested = value.map(|value| self.any_value(value)).transpose()?.flatten();
            match self.attributes.kind_below(*prefix, self.bytes(key), key.start)? {
                KeyKind::Owned => return Ok(true),
                // The index may be that of an owned key. The attribute is removed without looking at its string.
                _ if index != 0 && self.table.is_some() => return Ok(true),
                KeyKind::Prefix(prefix) => next = nested.map(|nested| (nested, prefix)),
                KeyKind::Free => {}
            }
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.message.get(span.start..span.end).unwrap_or_default()
    }

    /// The number of items below `body`, down these levels of fields.
    fn count(&self, body: Span, levels: &[&[u32]]) -> Result<u64, Malformed> {
        let Some((wanted, below)) = levels.split_first() else { return Ok(1) };
        let mut items = 0;
        let mut fields = Reader::new(self.message, body);
        while let Some(field) = fields.next_inlined()? {
            if wanted.contains(&field.number) {
                let span = field.message()?;
                items += if below.is_empty() { 1 } else { self.count(span, below)? };
            }
        }
        Ok(items)
    }

    /// Reserves an edit for the new header of a message, whose length is known only after its content.
    fn reserve_header(&mut self, start: usize, body: Span) -> Result<usize, SpliceError> {
        self.edit(Edit { at: start, remove: body.start - start, insert: Span { start: 0, end: 0 } })?;
        Ok(self.edits.len() - 1)
    }

    /// Writes the reserved header of a message in field `number`, whose body grew by `grown` bytes. Drops it if nothing
    /// in the message changed. Returns by how many bytes the message grows with its header.
    fn fill_header(&mut self, header: usize, number: u8, body: Span, grown: i64) -> i64 {
        if self.edits.len() == header + 1 {
            self.edits.truncate(header);
            return 0;
        }
        let len = ((body.end - body.start) as i64 + grown) as u64;
        let insert = self.append(|patch, _| {
            patch.push(number << 3 | 2);
            put_varint(patch, len);
        });
        let Some(edit) = self.edits.get_mut(header) else { return grown };
        edit.insert = insert;
        grown + 1 + varint_len(len) as i64 - edit.remove as i64
    }

    /// Appends to the patch. `write` gets the patch and the fields of the client's attributes.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>, &[u8])) -> Span {
        let start = self.patch.len();
        write(&mut self.patch, self.attributes.fields());
        Span { start, end: self.patch.len() }
    }

    fn edit(&mut self, edit: Edit) -> Result<(), SpliceError> {
        push(&mut self.edits, edit)
    }
}

#[cold]
fn malformed(what: &'static str, field: &Field) -> SpliceError {
    Malformed { what, at: field.start }.into()
}

/// Reads ExportProfilesServiceRequest.dictionary (2) and its ProfilesDictionary.string_table (5), wherever they are.
fn string_table(message: &[u8], attributes: &ResourceAttributes) -> Result<StringTable, SpliceError> {
    let mut table = StringTable::default();
    let mut seen = false;
    let mut fields = Reader::whole(message);
    while let Some(field) = fields.next()? {
        if field.number != 2 {
            continue;
        }
        if core::mem::replace(&mut seen, true) {
            return Err(malformed("more than one dictionary", &field));
        }
        let mut dictionary = Reader::new(message, field.message()?);
        while let Some(field) = dictionary.next()? {
            // All tables of the dictionary are messages or strings.
            let span = if field.number <= 7 { field.message()? } else { continue };
            if field.number == 5 {
                table.add(message.get(span.start..span.end).unwrap_or_default(), attributes, span.start)?;
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
