//! Client names: what they are made of, and that no two rules can give the same one to different clients.

use std::collections::BTreeMap;

use super::super::pattern::is_capture_byte;
use super::super::problem::{Path, Problem};
use super::super::rule::{Rule, UNKNOWN_DIGITS, UNKNOWN_PREFIX};
use super::super::template::{Part, Placeholder, Template};
use super::matching::{Class, Words};
use super::{template, unknown_placeholder};

const MAX_NAME: usize = 128;
/// In metrics, all clients together that have none of their own.
const OTHER: &str = "other";
/// So many comparisons of whole templates are made, a few milliseconds' worth. Rules whose names start or end differently
/// need none.
const MAX_COMPARISONS: usize = 200_000;

/// Compiles a name. Text of `[A-Za-z0-9._-]`, and words that the rule captures.
pub(super) fn compile(text: &str, words: &Words, path: &Path, problems: &mut Vec<Problem>) -> Template {
    let name = template(text, path, problems);
    if text.is_empty() {
        problems.push(Problem::new(path.clone(), "a client needs a name"));
    }
    if text.len() > MAX_NAME {
        problems.push(Problem::new(path.clone(), format!("the name is longer than {MAX_NAME} characters")));
    }
    if text == OTHER {
        problems.push(Problem::new(path.clone(), "metrics call all clients without a listed name `other`"));
    }
    for part in name.parts() {
        match part {
            Part::Text(text) => {
                if let Some(wrong) =
                    text.chars().find(|character| !u8::try_from(*character).is_ok_and(is_capture_byte))
                {
                    let message =
                        format!("a name is made of A-Z a-z 0-9 . _ -, not of `{}`", wrong.escape_debug());
                    problems.push(Problem::new(path.clone(), message));
                }
            }
            Part::Placeholder(Placeholder::Other(word)) if words.contains_key(&**word) => {}
            Part::Placeholder(placeholder @ Placeholder::Other(_)) => {
                problems.push(unknown_placeholder(placeholder, path, words.keys().map(String::as_str)));
            }
            Part::Placeholder(placeholder) => {
                let message = format!("a name is made of captured words, and {placeholder} is none");
                let hint = "capture it, as in match: {subject: {CN: \"{cn}\"}}, and write {cn}";
                problems.push(Problem::new(path.clone(), message).hint(hint));
            }
        }
    }
    name
}

/// Refuses rules that could name different clients the same.
pub(super) fn check(rules: &[Rule], words: &[Words], unknown_are_clients: bool, problems: &mut Vec<Problem>) {
    let mut names: Vec<Name> = Vec::with_capacity(rules.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (rule, (compiled, words)) in rules.iter().zip(words).enumerate() {
        if let Some(first) = seen.insert(&compiled.name_text, rule) {
            let message = format!("clients[{first}] has the same name");
            let hint = "give one rule a list of matches instead, or take another name";
            problems.push(Problem::new(path(rule), message).hint(hint));
            continue;
        }
        names.push(Name::new(rule, &compiled.name, words));
    }
    if unknown_are_clients {
        names.push(Name::unknown());
    }
    let index = Templates::new(&names);
    let mut comparisons = 0;
    for (at, name) in names.iter().enumerate() {
        for (other, template) in
            index.near(name).into_iter().filter_map(|other| Some((other, names.get(other)?)))
        {
            // Of two templates that start the same, each finds the other: the later one is told about the earlier.
            let found_again = other > at && !name.is_literal && name.prefix == template.prefix;
            if other == at || found_again {
                continue;
            }
            comparisons += 1;
            if comparisons > MAX_COMPARISONS {
                let message = "too many templates of names are too much alike to be told apart";
                let hint =
                    "let each start with a text of its own, or use one rule with captures for many clients";
                problems.push(Problem::new(Path::of("clients"), message).hint(hint));
                return;
            }
            if name.could_be(template) {
                problems.push(collision(rules, name, template));
                break;
            }
        }
    }
}

fn path(rule: usize) -> Path {
    Path::client(rule).key("name")
}

fn collision(rules: &[Rule], a: &Name, b: &Name) -> Problem {
    let hint = "start one of them with a text of its own, or put a character between its words that the other cannot \
                have there";
    let text = |rule: usize| rules.get(rule).map(|rule| rule.name_text.as_str()).unwrap_or_default();
    let problem = match (a.rule, b.rule) {
        (Some(a), Some(b)) => {
            let (first, later) = (a.min(b), a.max(b));
            let message = format!(
                "`{}` and `{}` (clients[{first}]) can give the same name to different clients",
                text(later),
                text(first)
            );
            Problem::new(path(later), message)
        }
        (Some(rule), None) | (None, Some(rule)) => {
            let message = format!(
                "`{}` can give the name of an unknown client, `unknown-` and 12 hex digits",
                text(rule)
            );
            Problem::new(path(rule), message)
        }
        (None, None) => Problem::new(Path::of("unknown"), "unknown clients are named alike"),
    };
    problem.hint(hint)
}

/// The names that a rule can give.
#[derive(Debug)]
struct Name {
    /// `None` for clients that no rule matches.
    rule: Option<usize>,
    prefix: Vec<u8>,
    /// From its end.
    suffix: Vec<u8>,
    is_literal: bool,
    symbols: Vec<Symbol>,
}

/// One character of a name, or any number of them.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    set: Set,
    repeats: bool,
}

#[derive(Debug, Clone, Copy)]
enum Set {
    Byte(u8),
    Word(Class),
    Hex,
}

impl Name {
    fn new(rule: usize, name: &Template, words: &Words) -> Self {
        let mut symbols = Vec::new();
        for part in name.parts() {
            match part {
                Part::Text(text) => symbols.extend(text.bytes().map(Symbol::byte)),
                Part::Placeholder(placeholder) => {
                    let class = words.get(&placeholder.word()).copied().unwrap_or(Class::ANY);
                    symbols.extend([false, true].map(|repeats| Symbol { set: Set::Word(class), repeats }));
                }
            }
        }
        Name::of(Some(rule), symbols)
    }

    fn unknown() -> Self {
        let prefix = UNKNOWN_PREFIX.bytes().map(Symbol::byte);
        let digit = Symbol { set: Set::Hex, repeats: false };
        Name::of(None, prefix.chain([digit; UNKNOWN_DIGITS]).collect())
    }

    fn of(rule: Option<usize>, symbols: Vec<Symbol>) -> Self {
        let byte = |symbol: &Symbol| match symbol.set {
            Set::Byte(byte) => Some(byte),
            _ => None,
        };
        let prefix: Vec<u8> = symbols.iter().map_while(byte).collect();
        let suffix = symbols.iter().rev().map_while(byte).collect();
        Name { rule, is_literal: prefix.len() == symbols.len(), prefix, suffix, symbols }
    }

    /// Whether there is a name that both can give: follows, symbol by symbol of this one, at which places of the other
    /// one can be when both have taken the same characters.
    fn could_be(&self, other: &Name) -> bool {
        let places = other.symbols.len() + 1;
        let mut here = vec![false; places];
        mark(&mut here, 0);
        for a in &self.symbols {
            let mut next = vec![false; places];
            for place in 0..places {
                if here.get(place) != Some(&true) {
                    continue;
                }
                if a.repeats {
                    mark(&mut next, place);
                }
                let Some(b) = other.symbols.get(place) else { continue };
                if b.repeats {
                    mark(&mut here, place + 1);
                }
                if !a.set.meets(b.set) {
                    continue;
                }
                match (a.repeats, b.repeats) {
                    // As many as it likes of the same: they may as well end together.
                    (true, true) => {}
                    (true, false) => mark(&mut here, place + 1),
                    (false, true) => mark(&mut next, place),
                    (false, false) => mark(&mut next, place + 1),
                }
            }
            here = next;
        }
        let left = here.iter().rposition(|reached| *reached);
        left.is_some_and(|left| other.symbols.iter().skip(left).all(|symbol| symbol.repeats))
    }
}

fn mark(places: &mut [bool], place: usize) {
    if let Some(reached) = places.get_mut(place) {
        *reached = true;
    }
}

impl Symbol {
    fn byte(byte: u8) -> Self {
        Symbol { set: Set::Byte(byte), repeats: false }
    }
}

impl Set {
    fn meets(self, other: Set) -> bool {
        match (self, other) {
            (Set::Byte(a), Set::Byte(b)) => a == b,
            (Set::Byte(byte), Set::Word(class)) | (Set::Word(class), Set::Byte(byte)) => class.holds(byte),
            (Set::Byte(byte), Set::Hex) | (Set::Hex, Set::Byte(byte)) => {
                matches!(byte, b'0'..=b'9' | b'a'..=b'f')
            }
            // Every word can hold digits.
            (Set::Word(_) | Set::Hex, Set::Word(_) | Set::Hex) => true,
        }
    }
}

/// Templates by how they start and, from the end, how they end. Two names can only be the same where the start of the
/// one continues that of the other, and so with their ends.
struct Templates<'a> {
    by_start: BTreeMap<&'a [u8], BTreeMap<&'a [u8], Vec<usize>>>,
}

impl<'a> Templates<'a> {
    fn new(names: &'a [Name]) -> Self {
        let mut by_start: BTreeMap<&[u8], BTreeMap<&[u8], Vec<usize>>> = BTreeMap::new();
        for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_literal) {
            by_start.entry(&name.prefix).or_default().entry(&name.suffix).or_default().push(at);
        }
        Templates { by_start }
    }

    /// The templates that start like this name or shorter, and end alike.
    fn near(&self, name: &Name) -> Vec<usize> {
        let mut near = Vec::new();
        let starts =
            (0..=name.prefix.len()).filter_map(|length| self.by_start.get(name.prefix.get(..length)?));
        for by_end in starts {
            for length in 0..name.suffix.len() {
                near.extend(name.suffix.get(..length).and_then(|end| by_end.get(end)).into_iter().flatten());
            }
            let longer =
                by_end.range(name.suffix.as_slice()..).take_while(|(end, _)| end.starts_with(&name.suffix));
            near.extend(longer.flat_map(|(_, templates)| templates));
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::pattern::Separator;
    use super::*;

    fn name(text: &str, separator: Separator) -> Name {
        let template = Template::parse(text).unwrap();
        let class = Class::of(separator);
        let words = template.placeholders().map(|placeholder| (placeholder.word(), class)).collect();
        Name::new(0, &template, &words)
    }

    #[test]
    fn names_meet_where_some_text_is_both() {
        use Separator::{Dns, Uri};
        for (a, b, separator, meet) in [
            ("{o}-{s}", "acme-edge", Dns, true),
            ("{o}.{s}", "acme-edge", Dns, false),
            ("{o}.{s}", "acme.edge", Dns, true),
            ("{o}.{s}", "Acme.edge", Dns, false),
            ("{o}.{s}", "acme-edge", Uri, false),
            ("{o}.{s}", "acme.edge.x", Dns, false),
            ("{o}.{s}", "acme.edge.x", Uri, true),
            ("a-{x}", "b-{x}", Uri, false),
            ("a-{x}", "a-b-{x}", Uri, true),
            ("{x}-a", "{x}-b", Uri, false),
            ("{x}-a", "b-{x}", Uri, true),
            ("{x}.a.{y}", "{x}.b.{y}", Dns, false),
            ("{x}.a.{y}", "{x}.b.{y}", Uri, true),
            ("a{x}a", "aa", Uri, false),
            ("a{x}a", "aaa", Uri, true),
            ("{x}", "a", Uri, true),
        ] {
            let (a, b) = (name(a, separator), name(b, separator));
            assert_eq!((a.could_be(&b), b.could_be(&a)), (meet, meet), "{a:?} {b:?}");
        }
        let unknown = Name::unknown();
        for (text, meet) in
            [("unknown-{x}", true), ("{x}", true), ("unknown-012345678abc", true), ("unknown-x{x}", false)]
        {
            assert_eq!(name(text, Dns).could_be(&unknown), meet, "{text}");
        }
    }

    proptest! {
        #[test]
        fn two_names_that_gave_the_same_text_meet(
            a in "([ab.]{0,2}(\\{x\\}|\\{y\\})?){1,3}",
            b in "([ab.]{0,2}(\\{x\\}|\\{y\\})?){1,3}",
            values in proptest::array::uniform4("[ab]{1,2}"),
        ) {
            let [x, y, z, w] = &values;
            let given = a.replace("{x}", x).replace("{y}", y);
            let same = given == b.replace("{x}", z).replace("{y}", w);
            let (a, b) = (name(&a, Separator::Dns), name(&b, Separator::Dns));
            prop_assert!(a.could_be(&name(&given, Separator::Dns)));
            prop_assert!(!same || (a.could_be(&b) && b.could_be(&a)));
        }

        #[test]
        fn the_index_finds_every_pair_that_meets(
            texts in proptest::collection::vec("[ab]{0,2}(\\{x\\}[ab]{0,2}){0,2}", 2..6),
        ) {
            let names: Vec<Name> = texts.iter().map(|text| name(text, Separator::Dns)).collect();
            let index = Templates::new(&names);
            for (i, a) in names.iter().enumerate() {
                for (j, b) in names.iter().enumerate().take(i) {
                    if !(a.is_literal && b.is_literal) && a.could_be(b) {
                        prop_assert!(index.near(a).contains(&j) || index.near(b).contains(&i));
                    }
                }
            }
        }
    }
}
