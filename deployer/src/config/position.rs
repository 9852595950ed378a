//! The positions of keys and values in the text of a config.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use otlp_gate_core::policy::{ConfigPath, PathStep};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

/// The positions of all keys and values of a YAML document.
#[derive(Debug)]
pub(super) struct Positions<'a> {
    text: &'a str,
    /// The ends of its lines, in bytes. One line may hold the whole file.
    ends: Vec<usize>,
    root: Option<Spanned<Node>>,
}

/// The structure of a document.
#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    /// Values by key, each with the position of its key.
    Map(BTreeMap<String, (Location, Spanned<Node>)>),
}

impl<'a> Positions<'a> {
    /// The positions in a text. If it is not YAML, all are unknown.
    pub(super) fn of(text: &'a str) -> Self {
        let options = serde_saphyr::options! { budget: budget() };
        let ends = text.match_indices(['\n', '\r']).map(|(at, _)| at).collect();
        Positions { text, ends, root: serde_saphyr::from_str_with_options(text, options).ok() }
    }

    /// The bytes of the text to point at for a path: a value on one line; of a longer value its key, or its first line.
    /// If the path is not in the file, the nearest parent that is.
    pub(super) fn span(&self, path: &ConfigPath) -> Option<Range<usize>> {
        let mut node = self.root.as_ref()?;
        let mut key = None;
        for segment in &path.0 {
            let next = match (segment, &node.value) {
                (PathStep::Key(name), Node::Map(entries)) => {
                    entries.get(name).map(|(key, value)| (Some(key), value))
                }
                (PathStep::Index(index), Node::List(items)) => items.get(*index).map(|item| (None, item)),
                _ => None,
            };
            let Some((next_key, next_node)) = next else { break };
            (key, node) = (next_key, next_node);
        }
        let location = match (&node.value, key) {
            (Node::List(_) | Node::Map(_), Some(key)) => *key,
            _ => node.referenced,
        };
        let span = span(self.text, &location)?;
        match (&node.value, key) {
            (Node::List(_) | Node::Map(_), None) => Some(span.start..self.end_of_line(span.start)),
            _ => Some(span),
        }
    }

    /// The path whose key or value begins at this byte, else the last one that begins before it.
    pub(super) fn path_at(&self, byte: usize) -> ConfigPath {
        let mut path = ConfigPath::default();
        let mut node = self.root.as_ref();
        while let Some(current) = node {
            let begins = |location: &Location| span(self.text, location).is_some_and(|it| it.start <= byte);
            let next = match &current.value {
                Node::Scalar => None,
                Node::List(items) => items
                    .iter()
                    .enumerate()
                    .rfind(|(_, item)| begins(&item.referenced))
                    .map(|(index, item)| (PathStep::Index(index), item)),
                Node::Map(entries) => entries
                    .iter()
                    .filter(|(_, (key, _))| begins(key))
                    // merged keys have the position of the merge, although they are read later
                    .max_by_key(|(_, (key, _))| (key.line(), key.column()))
                    .map(|(name, (_, value))| (PathStep::Key(name.clone()), value)),
            };
            node = next.map(|(segment, value)| {
                path.0.push(segment);
                value
            });
        }
        path
    }

    fn end_of_line(&self, start: usize) -> usize {
        let next = self.ends.partition_point(|end| *end < start);
        self.ends.get(next).copied().unwrap_or(self.text.len())
    }
}

/// The bytes of a location, up to the end of its first line.
pub(super) fn span(text: &str, location: &Location) -> Option<Range<usize>> {
    if *location == Location::UNKNOWN {
        return None;
    }
    let (start, length) = match (location.span().byte_offset(), location.span().byte_len()) {
        (Some(start), Some(length)) => (usize::try_from(start).ok()?, usize::try_from(length).ok()?),
        _ => (byte_of(text, location.line(), location.column())?, 1),
    };
    let start = start.min(text.len());
    let whole = text.get(start..start.saturating_add(length).min(text.len()))?;
    Some(start..start + whole.find(['\n', '\r']).unwrap_or(whole.len()))
}

/// Line and column of each of these bytes, which ascend: both from 1, the column in characters. However many there are,
/// the text (its `char_indices`) is read once.
pub(super) fn lines_and_columns(
    text: impl Iterator<Item = (usize, char)>,
    bytes: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = (usize, usize)> {
    let mut text = text.peekable();
    let (mut line, mut column) = (1, 1);
    bytes.into_iter().map(move |byte| {
        while let Some((_, passed)) = text.next_if(|(at, _)| *at < byte) {
            (line, column) = if passed == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        (line, column)
    })
}

/// The parser's own bounds are for strangers' files: they end at some 20,000 clients, and at 100 that share an anchor.
pub(super) fn budget() -> Option<serde_saphyr::Budget> {
    serde_saphyr::budget! {
        max_events: 100_000_000,
        max_nodes: 50_000_000,
        max_total_scalar_bytes: 1 << 30,
        max_aliases: 1_000_000,
        max_merge_keys: 1_000_000,
        enforce_alias_anchor_ratio: false,
    }
}

fn byte_of(text: &str, line: u64, column: u64) -> Option<usize> {
    let (line, column) = (usize::try_from(line).ok()?, usize::try_from(column).ok()?);
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(before..)?;
    Some(before + rest.char_indices().nth(column.checked_sub(1)?).map_or(rest.len(), |(at, _)| at))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, _>()? {
            entries.entry(key.value).or_insert((key.referenced, value));
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Scalar)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const TEXT: &str = "\
top: {a: 1, 'b.c': \"two words\"}
list:
  - name: é
    match:
      dns: x.y   # a comment
  - [1, 2.5, null, true]
folded: >
  one
  two
";

    fn path(keys: &[&str]) -> ConfigPath {
        let segment = |key: &&str| match key.parse() {
            Ok(index) => PathStep::Index(index),
            Err(_) => PathStep::Key((*key).to_owned()),
        };
        ConfigPath(keys.iter().map(segment).collect())
    }

    #[test]
    fn a_place_is_pointed_at_where_it_is() {
        let positions = Positions::of(TEXT);
        for (place, expected, line_column) in [
            (path(&["top", "a"]), "1", (1, 10)),
            (path(&["top", "b.c"]), "\"two words\"", (1, 20)),
            (path(&["list"]), "list", (2, 1)),
            (path(&["list", "0"]), "name: é", (3, 5)),
            (path(&["list", "0", "name"]), "é", (3, 11)),
            (path(&["list", "0", "match"]), "match", (4, 5)),
            (path(&["list", "0", "match", "dns"]), "x.y", (5, 12)),
            (path(&["list", "0", "match", "spiffe"]), "match", (4, 5)),
            (path(&["list", "1", "3"]), "true", (6, 20)),
            (path(&["list", "7"]), "list", (2, 1)),
        ] {
            let span = positions.span(&place).unwrap();
            assert_eq!(&TEXT[span.clone()], expected, "{place}");
            let found = lines_and_columns(TEXT.char_indices(), [span.start]);
            assert_eq!(found.collect::<Vec<_>>(), [line_column], "{place}");
        }
    }

    #[test]
    fn a_byte_is_in_the_place_that_begins_before_it() {
        let positions = Positions::of(TEXT);
        for (text, place) in [
            ("b.c", path(&["top", "b.c"])),
            ("list", path(&["list"])),
            ("dns", path(&["list", "0", "match", "dns"])),
            ("x.y", path(&["list", "0", "match", "dns"])),
            ("2.5", path(&["list", "1", "1"])),
        ] {
            assert_eq!(positions.path_at(TEXT.find(text).unwrap()), place, "{text}");
        }
    }

    #[test]
    fn a_text_is_read_once_for_all_places_in_it() {
        for text in ["- é\n".repeat(1000), "é, ".repeat(1000)] {
            let read = Cell::new(0);
            let counted = text.char_indices().inspect(|_| read.set(read.get() + 1));
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let found: Vec<_> = lines_and_columns(counted, places.iter().copied()).collect();
            assert!(read.get() <= places.len(), "{} characters read of {}", read.get(), places.len());
            for (at, found) in places.iter().zip(found) {
                let line = text[..*at].matches('\n').count() + 1;
                let column = text[..*at].rsplit('\n').next().unwrap().chars().count() + 1;
                assert_eq!(found, (line, column), "{at}");
            }
        }
    }

    #[test]
    fn text_that_is_no_yaml_has_no_places() {
        assert_eq!(Positions::of("a: [").span(&path(&["a"])), None);
    }
}
