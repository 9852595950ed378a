//! The splice for OTLP/JSON: as for protobuf, what is not the gate's survives byte for byte.

mod names;
mod scanner;

use names::{
    ANY_VALUE, ATTRIBUTES, DICTIONARY, KEY, KEY_VALUE, LIST, Level, MAP, Names, OLD_SCOPES, RESOURCE, SCOPES,
    STRING_TABLE, VALUE, VALUES,
};
use scanner::{Open, Scanner};

use super::owned::{Kind, Path};
use super::signal::Signal;
use super::splice::{Edit, MAX_ATTRIBUTES, MAX_NESTED, OwnedIndexes, Splice, SpliceError, Stamp, push};
use super::wire::{Malformed, Span};

/// Stamps the export request `message`, which is JSON. `max_len` bounds the stamped message, in bytes.
pub fn splice(signal: Signal, message: &[u8], stamp: &Stamp, max_len: usize) -> Result<Splice, SpliceError> {
    let names = Names::of(signal);
    let scanner = Scanner::new(message);
    let owned_indexes = match signal {
        Signal::Profiles => Some(owned_indexes(scanner, &names, stamp)?),
        _ => None,
    };
    let strings = owned_indexes.as_ref().map_or(0, OwnedIndexes::strings);
    let (patch, texts) = Texts::write(stamp, strings);
    let mut splicer = Splicer {
        scanner,
        names,
        stamp,
        owned_indexes,
        texts,
        edits: Vec::new(),
        items: 0,
        removed: 0,
        empty_entries: 0,
        left: MAX_ATTRIBUTES,
    };
    splicer.request()?;
    let Splicer { edits, items, removed, empty_entries, .. } = splicer;
    let mut splice = Splice::new(message, edits, patch, max_len)?;
    (splice.items, splice.removed, splice.empty_entries) = (items, removed, empty_entries);
    Ok(splice)
}

/// As many brackets as [`MAX_NESTED`] lists and maps have: four each.
const MAX_OPEN: usize = 4 * MAX_NESTED;

struct Splicer<'a> {
    scanner: Scanner<'a>,
    names: Names,
    stamp: &'a Stamp,
    owned_indexes: Option<OwnedIndexes>,
    /// `None` where the client has no attributes.
    texts: Option<Texts>,
    edits: Vec<Edit>,
    items: u64,
    removed: u64,
    empty_entries: u64,
    /// How many attributes, containers and elements of values that are looked into may still come.
    left: usize,
}

impl Splicer<'_> {
    fn request(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut request) = self.scanner.enter(b'{')? else {
            return Err(Malformed { what: "no JSON object where one must be", at: start }.into());
        };
        while let Some(field) = self.scanner.member(&mut request, self.names.request)? {
            if field == 0 {
                let Some(mut containers) = self.scanner.enter(b'[')? else { continue };
                while self.scanner.next(&mut containers)?.is_some() {
                    self.container()?;
                }
            } else {
                self.dictionary()?;
            }
        }
        Ok(self.scanner.finish()?)
    }

    /// ProfilesDictionary: where it has strings, the stamp's keys are put behind them.
    fn dictionary(&mut self) -> Result<(), SpliceError> {
        let Some(mut dictionary) = self.scanner.enter(b'{')? else { return Ok(()) };
        while self.scanner.member(&mut dictionary, STRING_TABLE)?.is_some() {
            let Some(mut table) = self.scanner.enter(b'[')? else { continue };
            while self.scanner.next(&mut table)?.is_some() {
                self.scanner.skip()?;
            }
            if !table.empty {
                self.insert(table.end, |texts| texts.strings)?;
            }
        }
        Ok(())
    }

    /// ResourceSpans and its like.
    fn container(&mut self) -> Result<(), SpliceError> {
        self.one_less()?;
        let start = self.scanner.start();
        let before = self.items;
        let Some(mut container) = self.scanner.enter(b'{')? else {
            self.empty_entries += 1;
            return self.replace(start, |texts| texts.container);
        };
        while let Some(field) = self.scanner.member(&mut container, self.names.container)? {
            match field {
                RESOURCE => self.resource()?,
                _ => self.items += self.array(self.names.items)?,
            }
        }
        if container.has(SCOPES) && container.has(OLD_SCOPES) {
            let what = "scopes under today's name and under that of before OTLP 1.0";
            return Err(Malformed { what, at: container.end }.into());
        }
        self.empty_entries += u64::from(self.items == before);
        if container.has(RESOURCE) {
            return Ok(());
        }
        self.insert(container.end, |texts| texts.resource_member.after(!container.empty))
    }

    fn resource(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut resource) = self.scanner.enter(b'{')? else {
            return self.replace(start, |texts| texts.resource);
        };
        let mut found = false;
        while self.scanner.member(&mut resource, ATTRIBUTES)?.is_some() {
            found = true;
            self.attributes()?;
        }
        if found {
            return Ok(());
        }
        self.insert(resource.end, |texts| texts.attributes_member.after(!resource.empty))
    }

    /// Puts the stamp before all attributes, so that each later one has a comma before it, which goes where it goes.
    fn attributes(&mut self) -> Result<(), SpliceError> {
        let start = self.scanner.start();
        let Some(mut attributes) = self.scanner.enter(b'[')? else {
            return self.replace(start, |texts| texts.attributes);
        };
        let stamp = self.edits.len();
        self.insert(self.scanner.at(), |texts| texts.stamp)?;
        let mut first = true;
        let mut kept = false;
        while let Some(from) = self.scanner.next(&mut attributes)? {
            self.one_less()?;
            if self.is_owned()? {
                let remove = self.scanner.at() - from;
                push(&mut self.edits, Edit { at: from, remove, insert: Span { start: 0, end: 0 } })?;
                self.removed += 1;
            } else {
                match &self.texts {
                    Some(texts) if first => {
                        if let Some(edit) = self.edits.get_mut(stamp) {
                            edit.insert = texts.stamp_and_comma;
                        }
                    }
                    // Nothing is left before it: its comma goes.
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

    fn one_less(&mut self) -> Result<(), SpliceError> {
        self.left = self.left.checked_sub(1).ok_or(SpliceError::TooManyEdits)?;
        Ok(())
    }

    /// Whether the KeyValue that comes next has an owned key, or the path to one in its value.
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
                _ if self.owned_indexes.is_some() => index = self.scanner.index()?,
                _ => self.scanner.skip()?,
            }
        }
        let kind = self.stamp.kind(&key, start)?;
        let kind = match &self.owned_indexes {
            Some(indexes) if index != 0 => indexes.kind(index, &key, start)?,
            _ => kind,
        };
        match (kind, nested) {
            (Kind::Owned, _) => Ok(true),
            (Kind::Part(path), Some(value)) => {
                let behind = core::mem::replace(&mut self.scanner, value);
                let hides = self.hides_owned(path)?;
                self.scanner = behind;
                Ok(hides)
            }
            _ => Ok(false),
        }
    }

    /// Skips an AnyValue. Returns whether there is a list or a map in it.
    fn any_value(&mut self) -> Result<bool, Malformed> {
        let Some(mut value) = self.scanner.enter(b'{')? else { return Ok(false) };
        let mut nested = false;
        while let Some(field) = self.any_member(&mut value)? {
            nested = matches!(field, LIST | MAP);
            self.scanner.skip()?;
        }
        Ok(nested)
    }

    /// Goes to the member of an AnyValue. Of several, some decoders take the first, others the last, some merge them.
    fn any_member(&mut self, value: &mut Open) -> Result<Option<usize>, Malformed> {
        let seen = value.seen();
        let member = self.scanner.member(value, ANY_VALUE)?;
        if seen && member.is_some() {
            return Err(Malformed { what: "an attribute's value that is two", at: self.scanner.at() });
        }
        Ok(member)
    }

    /// Whether there is an owned name on some path through the lists and maps of the AnyValue that comes next.
    fn hides_owned(&mut self, path: Path) -> Result<bool, SpliceError> {
        /// What is open, and where the path is in it.
        enum Place {
            Value,
            Members { map: bool },
            Values { map: bool },
            Pair(Option<Kind>),
        }
        let mut open = Vec::new();
        open.extend(self.scanner.enter(b'{')?.map(|value| (value, Place::Value, path)));
        while let Some((inside, place, path)) = open.last_mut() {
            let path = *path;
            let next = match place {
                Place::Value => match self.any_member(inside)? {
                    Some(field @ (LIST | MAP)) => Some((b'{', Place::Members { map: field == MAP }, path)),
                    Some(_) => {
                        self.scanner.skip()?;
                        continue;
                    }
                    None => None,
                },
                Place::Members { map } => {
                    let next = (b'[', Place::Values { map: *map }, path);
                    self.scanner.member(inside, VALUES)?.map(|_| next)
                }
                Place::Values { map } => {
                    self.one_less()?;
                    let next = (b'{', if *map { Place::Pair(None) } else { Place::Value }, path);
                    self.scanner.next(inside)?.map(|_| next)
                }
                Place::Pair(kind) => match self.scanner.member(inside, KEY_VALUE)? {
                    // Its value was taken for one without a key, as which it is not looked at again: no encoder writes it so.
                    Some(KEY) if kind.is_some() => return Ok(true),
                    Some(KEY) => {
                        let at = self.scanner.start();
                        let key = self.scanner.text()?;
                        *kind = Some(self.stamp.kind_below(path, &key, at)?);
                        if *kind == Some(Kind::Owned) {
                            return Ok(true);
                        }
                        continue;
                    }
                    Some(VALUE) => match kind {
                        Some(Kind::Part(path)) => Some((b'{', Place::Value, *path)),
                        Some(_) => {
                            self.scanner.skip()?;
                            continue;
                        }
                        None => {
                            *kind = Some(Kind::Part(path));
                            Some((b'{', Place::Value, path))
                        }
                    },
                    // An index for a key: what is in this attribute need not be known.
                    Some(_) if self.owned_indexes.is_some() => return Ok(true),
                    Some(_) => {
                        self.scanner.skip()?;
                        continue;
                    }
                    None => None,
                },
            };
            let Some((bracket, place, path)) = next else {
                open.pop();
                continue;
            };
            if open.len() == MAX_OPEN {
                let what = "an attribute nested too deeply";
                return Err(Malformed { what, at: self.scanner.at() }.into());
            }
            open.extend(self.scanner.enter(bracket)?.map(|inside| (inside, place, path)));
        }
        Ok(false)
    }

    /// The items in an array of messages, down the remaining levels.
    fn array(&mut self, levels: &[Level]) -> Result<u64, Malformed> {
        let Some(mut array) = self.scanner.enter(b'[')? else { return Ok(0) };
        let mut items = 0;
        while self.scanner.next(&mut array)?.is_some() {
            items += self.count(levels)?;
        }
        Ok(items)
    }

    /// The items in a message. Where null stands for an item it counts, since the Collector makes one of it.
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
    fn replace(&mut self, at: usize, by: impl Fn(&Texts) -> Span) -> Result<(), SpliceError> {
        self.change(at, b"null".len(), by)
    }

    fn insert(&mut self, at: usize, text: impl Fn(&Texts) -> Span) -> Result<(), SpliceError> {
        self.change(at, 0, text)
    }

    fn change(&mut self, at: usize, remove: usize, by: impl Fn(&Texts) -> Span) -> Result<(), SpliceError> {
        match &self.texts {
            Some(texts) => push(&mut self.edits, Edit { at, remove, insert: by(texts) }),
            None => Ok(()),
        }
    }
}

/// Where the patch has what is ever inserted.
struct Texts {
    container: Span,
    resource: Span,
    resource_member: Member,
    attributes: Span,
    attributes_member: Member,
    stamp: Span,
    stamp_and_comma: Span,
    /// The keys, for a table of strings that is not empty.
    strings: Span,
}

/// A member with a comma before it.
struct Member(Span);

impl Member {
    /// The member as it follows another one, or none.
    fn after(&self, another: bool) -> Span {
        Span { start: self.0.start + usize::from(!another), ..self.0 }
    }
}

impl Texts {
    /// The patch, and where in it what stands. Where there is a table of so many strings, keys are written by index, as in
    /// protobuf.
    fn write(stamp: &Stamp, strings: usize) -> (Vec<u8>, Option<Texts>) {
        let (mut attributes, mut keys) = (String::new(), String::new());
        for (index, (key, value)) in (strings..).zip(stamp.attributes()) {
            if !attributes.is_empty() {
                attributes.push(',');
            }
            if strings > 0 {
                attributes.push_str("{\"keyStrindex\":");
                attributes.push_str(&index.to_string());
                keys.push(',');
                put_string(&mut keys, key);
            } else {
                attributes.push_str("{\"key\":");
                put_string(&mut attributes, key);
            }
            attributes.push_str(",\"value\":{\"stringValue\":");
            put_string(&mut attributes, value);
            attributes.push_str("}}");
        }
        if attributes.is_empty() {
            return (Vec::new(), None);
        }
        let mut patch = String::new();
        let mut put = |parts: &[&str]| {
            let start = patch.len();
            parts.iter().for_each(|part| patch.push_str(part));
            Span { start, end: patch.len() }
        };
        let texts = Texts {
            container: put(&["{\"resource\":{\"attributes\":[", &attributes, "]}}"]),
            resource: put(&["{\"attributes\":[", &attributes, "]}"]),
            resource_member: Member(put(&[",\"resource\":{\"attributes\":[", &attributes, "]}"])),
            attributes: put(&["[", &attributes, "]"]),
            attributes_member: Member(put(&[",\"attributes\":[", &attributes, "]"])),
            stamp: put(&[&attributes]),
            stamp_and_comma: put(&[&attributes, ","]),
            strings: put(&[&keys]),
        };
        (patch.into_bytes(), Some(texts))
    }
}

/// A JSON string.
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

/// The strings of the dictionary, wherever it stands.
fn owned_indexes(mut scanner: Scanner, names: &Names, stamp: &Stamp) -> Result<OwnedIndexes, Malformed> {
    let mut found = OwnedIndexes::default();
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
                found.add(&scanner.text()?, stamp, at)?;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
