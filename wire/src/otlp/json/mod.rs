//! The splice of OTLP/JSON. As for protobuf, everything but owned attributes stays byte for byte.

mod chunk;
mod names;
mod nesting;
mod scanner;

use names::{
    ANY_VALUE, ATTRIBUTES, DEPRECATED_SCOPES, DICTIONARY, KEY, KEY_VALUE, LIST, Level, MAP, Names, RESOURCE,
    SCOPES, STRING_TABLE, VALUE, VALUES,
};
use scanner::{Open, Scanner};

use super::owned::{KeyKind, Prefix};
use super::protobuf::{Malformed, Span};
use super::resource_attributes::ResourceAttributes;
use super::signal::Signal;
use super::splice::{Counts, Edit, MAX_ATTRIBUTES, MAX_NESTED, Splice, SpliceError, push};
use super::string_table::StringTable;

/// Sets `attributes` in every Resource of the export request `message`, which is JSON. The message to forward is at
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
    let names = Names::of(signal);
    let scanner = Scanner::new(message);
    let table = match signal {
        Signal::Profiles => Some(string_table(scanner, &names, attributes)?),
        _ => None,
    };
    let strings = table.as_ref().map_or(0, StringTable::len);
    let (patch, insertions) = Insertions::write(attributes, strings);
    let mut splicer = Splicer {
        scanner,
        names,
        attributes,
        table,
        insertions,
        edits: Vec::new(),
        counts: Counts::default(),
        budget: MAX_ATTRIBUTES,
    };
    splicer.request()?;
    let Splicer { edits, counts, .. } = splicer;
    let len = message.len() as i64 + edits.iter().map(Edit::grown).sum::<i64>();
    Splice::new(edits, patch, len, max_len, counts)
}

/// How many brackets may be open: [`MAX_NESTED`] lists and maps have four each.
const MAX_OPEN: usize = 4 * MAX_NESTED;

struct Splicer<'a> {
    scanner: Scanner<'a>,
    names: Names,
    attributes: &'a ResourceAttributes,
    /// The string table of profiles.
    table: Option<StringTable>,
    /// `None` if the client has no attributes.
    insertions: Option<Insertions>,
    edits: Vec<Edit>,
    counts: Counts,
    /// How many more attributes, entries and elements of values may be read.
    budget: usize,
}

impl Splicer<'_> {
    fn request(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut request) = self.scanner.enter(b'{')? else {
            return Err(Malformed { what: "expected a JSON object", at: start }.into());
        };
        while let Some(field) = self.scanner.member(&mut request, self.names.request)? {
            if field == 0 {
                let Some(mut entries) = self.scanner.enter(b'[')? else { continue };
                while self.scanner.next(&mut entries)?.is_some() {
                    self.entry()?;
                }
            } else {
                self.dictionary()?;
            }
        }
        Ok(self.scanner.finish()?)
    }

    /// Edits the ProfilesDictionary: the keys of the client's attributes go after its strings, if it has any.
    fn dictionary(&mut self) -> Result<(), SpliceError> {
        let Some(mut dictionary) = self.scanner.enter(b'{')? else { return Ok(()) };
        while self.scanner.member(&mut dictionary, STRING_TABLE)?.is_some() {
            let Some(mut table) = self.scanner.enter(b'[')? else { continue };
            while self.scanner.next(&mut table)?.is_some() {
                self.scanner.skip()?;
            }
            if !table.empty {
                self.insert(table.end, |insertions| insertions.strings)?;
            }
        }
        Ok(())
    }

    /// Edits an entry: ResourceSpans and the like.
    fn entry(&mut self) -> Result<(), SpliceError> {
        self.spend()?;
        let start = self.scanner.start();
        let before = self.counts.items;
        let Some(mut entry) = self.scanner.enter(b'{')? else {
            self.counts.empty_entries += 1;
            return self.replace_null(start, |insertions| insertions.entry);
        };
        while let Some(field) = self.scanner.member(&mut entry, self.names.entry)? {
            match field {
                RESOURCE => self.resource()?,
                _ => self.counts.items += self.array(self.names.items)?,
            }
        }
        if entry.has(SCOPES) && entry.has(DEPRECATED_SCOPES) {
            let what = "scopes under both the current and the deprecated name";
            return Err(Malformed { what, at: entry.end }.into());
        }
        self.counts.empty_entries += u64::from(self.counts.items == before);
        if entry.has(RESOURCE) {
            return Ok(());
        }
        self.insert(entry.end, |insertions| insertions.resource_member.after(!entry.empty))
    }

    /// Edits a Resource.
    fn resource(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut resource) = self.scanner.enter(b'{')? else {
            return self.replace_null(start, |insertions| insertions.resource);
        };
        let mut found = false;
        while self.scanner.member(&mut resource, ATTRIBUTES)?.is_some() {
            found = true;
            self.attributes()?;
        }
        if found {
            return Ok(());
        }
        self.insert(resource.end, |insertions| insertions.attributes_member.after(!resource.empty))
    }

    /// Edits the attributes of a Resource. The client's attributes come first, so each other attribute has a comma
    /// before it, and the comma is removed with its attribute.
    fn attributes(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut attributes) = self.scanner.enter(b'[')? else {
            return self.replace_null(start, |insertions| insertions.attributes);
        };
        let inserted = self.edits.len();
        self.insert(self.scanner.at(), |insertions| insertions.elements)?;
        let mut first = true;
        let mut kept = false;
        while let Some(from) = self.scanner.next(&mut attributes)? {
            self.spend()?;
            if self.is_owned()? {
                let remove = self.scanner.at() - from;
                push(&mut self.edits, Edit { at: from, remove, insert: Span { start: 0, end: 0 } })?;
                self.counts.removed += 1;
            } else {
                match &self.insertions {
                    Some(insertions) if first => {
                        if let Some(edit) = self.edits.get_mut(inserted) {
                            edit.insert = insertions.elements_and_comma;
                        }
                    }
                    // All attributes before it were removed, so its comma is removed as well.
                    None if !first && !kept => {
                        push(
                            &mut self.edits,
                            Edit { at: from, remove: 1, insert: Span { start: 0, end: 0 } },
                        )?;
                    }
                    _ => {}
                }
                kept = true;
            }
            first = false;
        }
        Ok(())
    }

    /// Takes one from the budget.
    fn spend(&mut self) -> Result<(), SpliceError> {
        self.budget = self.budget.checked_sub(1).ok_or(SpliceError::TooManyEdits)?;
        Ok(())
    }

    /// Whether the key of the next KeyValue is owned, or a key in its value together with the keys above it.
    fn is_owned(&mut self) -> Result<bool, SpliceError> {
        let start = self.scanner.start();
        let Some(mut attribute) = self.scanner.enter(b'{')? else { return Ok(false) };
        let mut key = Default::default();
        let mut index = 0;
        let mut nested = None;
        while let Some(field) = self.scanner.member(&mut attribute, KEY_VALUE)? {
            match field {
                KEY => key = self.scanner.text()?,
                VALUE => {
                    let value = self.scanner;
                    nested = self.any_value()?.then_some(value);
                }
                _ if self.table.is_some() => index = self.scanner.index()?,
                _ => self.scanner.skip()?,
            }
        }
        let kind = self.attributes.kind(&key, start)?;
        let kind = match &self.table {
            Some(table) if index != 0 => table.kind(index, &key, start)?,
            _ => kind,
        };
        match (kind, nested) {
            (KeyKind::Owned, _) => Ok(true),
            (KeyKind::Prefix(prefix), Some(value)) => {
                let behind = core::mem::replace(&mut self.scanner, value);
                let hides = self.hides_owned(prefix)?;
                self.scanner = behind;
                Ok(hides)
            }
            _ => Ok(false),
        }
    }

    /// Skips an AnyValue. Returns whether it is a list or a map.
    fn any_value(&mut self) -> Result<bool, Malformed> {
        let Some(mut value) = self.scanner.enter(b'{')? else { return Ok(false) };
        let mut nested = false;
        while let Some(field) = self.any_member(&mut value)? {
            nested = matches!(field, LIST | MAP);
            self.scanner.skip()?;
        }
        Ok(nested)
    }

    /// Goes to the member of an AnyValue. Of several, some decoders take the first, some the last, and some merge them,
    /// so that is an error.
    fn any_member(&mut self, value: &mut Open) -> Result<Option<usize>, Malformed> {
        let seen = value.seen();
        let member = self.scanner.member(value, ANY_VALUE)?;
        if seen && member.is_some() {
            return Err(Malformed {
                what: "attribute value has more than one member",
                at: self.scanner.at(),
            });
        }
        Ok(member)
    }

    /// Whether a path of keys through the lists and maps of the next AnyValue is an owned key. The keys above them make
    /// `prefix`.
    fn hides_owned(&mut self, prefix: Prefix) -> Result<bool, SpliceError> {
        /// The kind of an object or array that is open: an AnyValue, an ArrayValue or KeyValueList, its `values`, or a
        /// KeyValue with what is known of its key.
        enum Nesting {
            Value,
            Members { map: bool },
            Values { map: bool },
            Pair(Option<KeyKind>),
        }
        let mut open = Vec::new();
        open.extend(self.scanner.enter(b'{')?.map(|value| (value, Nesting::Value, prefix)));
        while let Some((inside, nesting, prefix)) = open.last_mut() {
            let prefix = *prefix;
            let next = match nesting {
                Nesting::Value => match self.any_member(inside)? {
                    Some(field @ (LIST | MAP)) => {
                        Some((b'{', Nesting::Members { map: field == MAP }, prefix))
                    }
                    Some(_) => {
                        self.scanner.skip()?;
                        continue;
                    }
                    None => None,
                },
                Nesting::Members { map } => {
                    let next = (b'[', Nesting::Values { map: *map }, prefix);
                    self.scanner.member(inside, VALUES)?.map(|_| next)
                }
                Nesting::Values { map } => {
                    self.spend()?;
                    let next = (b'{', if *map { Nesting::Pair(None) } else { Nesting::Value }, prefix);
                    self.scanner.next(inside)?.map(|_| next)
                }
                Nesting::Pair(kind) => match self.scanner.member(inside, KEY_VALUE)? {
                    // The value came first and was searched as one without a key. No encoder writes it like this, so
                    // the attribute is removed without another search.
                    Some(KEY) if kind.is_some() => return Ok(true),
                    Some(KEY) => {
                        let at = self.scanner.start();
                        let key = self.scanner.text()?;
                        *kind = Some(self.attributes.kind_below(prefix, &key, at)?);
                        if *kind == Some(KeyKind::Owned) {
                            return Ok(true);
                        }
                        continue;
                    }
                    Some(VALUE) => match kind {
                        Some(KeyKind::Prefix(prefix)) => Some((b'{', Nesting::Value, *prefix)),
                        Some(_) => {
                            self.scanner.skip()?;
                            continue;
                        }
                        None => {
                            *kind = Some(KeyKind::Prefix(prefix));
                            Some((b'{', Nesting::Value, prefix))
                        }
                    },
                    // The index may be that of an owned key. The attribute is removed without looking at its string.
                    Some(_) if self.table.is_some() => return Ok(true),
                    Some(_) => {
                        self.scanner.skip()?;
                        continue;
                    }
                    None => None,
                },
            };
            let Some((bracket, nesting, prefix)) = next else {
                open.pop();
                continue;
            };
            if open.len() == MAX_OPEN {
                let what = "attribute value nested too deeply";
                return Err(Malformed { what, at: self.scanner.at() }.into());
            }
            open.extend(self.scanner.enter(bracket)?.map(|inside| (inside, nesting, prefix)));
        }
        Ok(false)
    }

    /// The number of items in an array of messages, down these levels.
    fn array(&mut self, levels: &[Level]) -> Result<u64, Malformed> {
        let Some(mut array) = self.scanner.enter(b'[')? else { return Ok(0) };
        let mut items = 0;
        while self.scanner.next(&mut array)?.is_some() {
            items += self.count(levels)?;
        }
        Ok(items)
    }

    /// The number of items in a message. A null in place of an item counts, since the Collector makes an item of it.
    fn count(&mut self, levels: &[Level]) -> Result<u64, Malformed> {
        let Some((level, below)) = levels.split_first() else {
            self.scanner.skip_message()?;
            return Ok(1);
        };
        let Some(mut message) = self.scanner.enter(b'{')? else { return Ok(0) };
        let (Level::Many(fields) | Level::One(fields)) = level;
        let mut items = 0;
        while self.scanner.member(&mut message, fields)?.is_some() {
            items += match level {
                Level::Many(_) => self.array(below)?,
                Level::One(_) => self.count(below)?,
            };
        }
        Ok(items)
    }

    /// Replaces the null at `at`.
    fn replace_null(&mut self, at: usize, by: impl Fn(&Insertions) -> Span) -> Result<(), SpliceError> {
        self.change(at, b"null".len(), by)
    }

    fn insert(&mut self, at: usize, by: impl Fn(&Insertions) -> Span) -> Result<(), SpliceError> {
        self.change(at, 0, by)
    }

    fn change(
        &mut self,
        at: usize,
        remove: usize,
        by: impl Fn(&Insertions) -> Span,
    ) -> Result<(), SpliceError> {
        match &self.insertions {
            Some(insertions) => push(&mut self.edits, Edit { at, remove, insert: by(insertions) }),
            None => Ok(()),
        }
    }
}

/// All texts that are ever inserted, as ranges of the patch.
struct Insertions {
    entry: Span,
    resource: Span,
    resource_member: Member,
    attributes: Span,
    attributes_member: Member,
    /// The client's attributes, for the front of an array.
    elements: Span,
    elements_and_comma: Span,
    /// The keys, for a string table that is not empty.
    strings: Span,
}

/// A member with a comma before it.
struct Member(Span);

impl Member {
    /// The member as it follows another one (`another`), or none.
    fn after(&self, another: bool) -> Span {
        Span { start: self.0.start + usize::from(!another), ..self.0 }
    }
}

impl Insertions {
    /// The patch, and the ranges of it. If the message has a table with so many strings, keys are written by index, as
    /// in protobuf.
    fn write(attributes: &ResourceAttributes, strings: usize) -> (Vec<u8>, Option<Insertions>) {
        let (mut elements, mut keys) = (String::new(), String::new());
        for (index, (key, value)) in (strings..).zip(attributes.attributes()) {
            if !elements.is_empty() {
                elements.push(',');
            }
            if strings > 0 {
                elements.push_str("{\"keyStrindex\":");
                elements.push_str(&index.to_string());
                keys.push(',');
                put_string(&mut keys, key);
            } else {
                elements.push_str("{\"key\":");
                put_string(&mut elements, key);
            }
            elements.push_str(",\"value\":{\"stringValue\":");
            put_string(&mut elements, value);
            elements.push_str("}}");
        }
        if elements.is_empty() {
            return (Vec::new(), None);
        }
        let mut patch = String::new();
        let mut put = |parts: &[&str]| {
            let start = patch.len();
            parts.iter().for_each(|part| patch.push_str(part));
            Span { start, end: patch.len() }
        };
        let insertions = Insertions {
            entry: put(&["{\"resource\":{\"attributes\":[", &elements, "]}}"]),
            resource: put(&["{\"attributes\":[", &elements, "]}"]),
            resource_member: Member(put(&[",\"resource\":{\"attributes\":[", &elements, "]}"])),
            attributes: put(&["[", &elements, "]"]),
            attributes_member: Member(put(&[",\"attributes\":[", &elements, "]"])),
            elements: put(&[&elements]),
            elements_and_comma: put(&[&elements, ","]),
            strings: put(&[&keys]),
        };
        (patch.into_bytes(), Some(insertions))
    }
}

/// Writes a JSON string.
fn put_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..' ' => {
                let digit =
                    |shift: u32| char::from_digit(letter as u32 >> shift & 0xf, 16).unwrap_or_default();
                out.extend(['\\', 'u', '0', '0', digit(4), digit(0)]);
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Reads the string table of the dictionary, wherever it is.
fn string_table(
    mut scanner: Scanner,
    names: &Names,
    attributes: &ResourceAttributes,
) -> Result<StringTable, Malformed> {
    let mut found = StringTable::default();
    let Some(mut request) = scanner.enter(b'{')? else { return Ok(found) };
    while let Some(field) = scanner.member(&mut request, names.request)? {
        if field != DICTIONARY {
            scanner.skip()?;
            continue;
        }
        let Some(mut dictionary) = scanner.enter(b'{')? else { continue };
        while scanner.member(&mut dictionary, STRING_TABLE)?.is_some() {
            let Some(mut table) = scanner.enter(b'[')? else { continue };
            while scanner.next(&mut table)?.is_some() {
                let at = scanner.at();
                found.add(&scanner.text()?, attributes, at)?;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
