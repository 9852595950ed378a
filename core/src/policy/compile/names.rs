//! Client names: what they are made of, and that no two rules can give the same one to different clients.

use std::collections::BTreeSet;

use super::super::hashed::{Hashed, repeated};
use super::super::pattern::is_capture_byte;
use super::super::problem::{Path, Place, Problem};
use super::super::rule::{Rule, UNKNOWN_DIGITS, UNKNOWN_PREFIX};
use super::super::template::{Part, Placeholder, Template};
use super::matching::{Class, Words};
use super::{template, unknown_placeholder};
use crate::sort;

const MAX_NAME: usize = 128;
/// In metrics, all clients together that have none of their own.
const OTHER: &str = "other";
/// So many comparisons of whole templates are made, a few milliseconds' worth. Rules whose names start or end differently
/// need none.
const MAX_COMPARISONS: usize = 200_000;

/// Compiles a name. Text of `[A-Za-z0-9._-]`, and words that the rule captures.
pub(super) fn compile(text: &str, words: &Words, path: &Place<'_>, problems: &mut Vec<Problem>) -> Template {
    let name = template(text, path, problems);
    if text.is_empty() {
        problems.push(Problem::new(path, "a client needs a name"));
    }
    if text.len() > MAX_NAME {
        problems.push(Problem::new(path, format!("the name is longer than {MAX_NAME} characters")));
    }
    if text == OTHER {
        problems.push(Problem::new(path, "metrics call all clients without a listed name `other`"));
    }
    for part in name.parts() {
        match part {
            Part::Text(text) => {
                if let Some(wrong) =
                    text.chars().find(|character| !u8::try_from(*character).is_ok_and(is_capture_byte))
                {
                    let message =
                        format!("a name is made of A-Z a-z 0-9 . _ -, not of `{}`", wrong.escape_debug());
                    problems.push(Problem::new(path, message));
                }
            }
            Part::Placeholder(Placeholder::Other(word)) if words.contains_key(&**word) => {}
            Part::Placeholder(placeholder @ Placeholder::Other(_)) => {
                problems.push(unknown_placeholder(placeholder, path, words.keys().map(String::as_str)));
            }
            Part::Placeholder(placeholder) => {
                let message = format!("a name is made of captured words, and {placeholder} is none");
                let hint = "capture it, as in match: {subject: {CN: \"{cn}\"}}, and write {cn}";
                problems.push(Problem::new(path, message).hint(hint));
            }
        }
    }
    name
}

/// Refuses rules that could name different clients the same. Of `broken` rules it cannot be told.
pub(super) fn check(
    rules: &[Rule],
    words: &[Words],
    broken: &BTreeSet<usize>,
    unknown_are_clients: bool,
    problems: &mut Vec<Problem>,
) {
    let texts: Vec<&str> = rules.iter().map(|rule| rule.name_text.as_str()).collect();
    let repeated = repeated(&texts);
    for (later, first) in &repeated {
        let message = format!("clients[{first}] has the same name");
        let hint = "give one rule a list of matches instead, or take another name";
        problems.push(Problem::new(path(*later), message).hint(hint));
    }
    let names = rules.iter().zip(words).enumerate();
    let mut names: Vec<Name<'_>> = names
        .filter(|(rule, _)| !broken.contains(rule))
        .filter(|(rule, _)| repeated.binary_search_by_key(rule, |(later, _)| *later).is_err())
        .map(|(rule, (compiled, words))| Name::Rule { rule, name: &compiled.name, words })
        .collect();
    if unknown_are_clients {
        names.push(Name::Unknown);
    }
    let index = Templates::new(&names);
    let mut comparisons = 0;
    for (at, name) in (0_u32..).zip(names.iter().copied()) {
        for other in index.near(name) {
            let Some(template) = usize::try_from(other).ok().and_then(|other| names.get(other)).copied()
            else {
                continue;
            };
            // Of two templates that start the same, each finds the other: the later one is told about the earlier.
            let found_again = other > at && !name.is_literal() && name.start() == template.start();
            if other == at || found_again {
                continue;
            }
            comparisons += 1;
            if comparisons > MAX_COMPARISONS {
                let message = "too many templates of names are too much alike to be told apart";
                let hint =
                    "let each start with a text of its own, or use one rule with captures for many clients";
                problems.push(Problem::new(Place::of("clients"), message).hint(hint));
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

fn collision(rules: &[Rule], a: Name<'_>, b: Name<'_>) -> Problem {
    let hint = "start one of them with a text of its own, or put a character between its words that the other cannot \
                have there";
    let text = |rule: usize| rules.get(rule).map(|rule| rule.name_text.as_str()).unwrap_or_default();
    let problem = match (a.rule(), b.rule()) {
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
        (None, None) => Problem::new(Place::of("unknown"), "unknown clients are named alike"),
    };
    problem.hint(hint)
}

/// The names that a rule can give.
#[derive(Debug, Clone, Copy)]
enum Name<'a> {
    Rule {
        rule: usize,
        name: &'a Template,
        words: &'a Words,
    },
    /// Those of clients that no rule matches.
    Unknown,
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

impl<'a> Name<'a> {
    fn rule(self) -> Option<usize> {
        match self {
            Name::Rule { rule, .. } => Some(rule),
            Name::Unknown => None,
        }
    }

    fn is_literal(self) -> bool {
        matches!(self, Name::Rule { name, .. } if name.literal().is_some())
    }

    /// The plain text that every name starts with.
    fn start(self) -> &'a str {
        match self {
            Name::Unknown => UNKNOWN_PREFIX,
            Name::Rule { name, .. } => text(name.parts().first()),
        }
    }

    /// The plain text that every name ends with.
    fn end(self) -> &'a str {
        match self {
            Name::Unknown => "",
            Name::Rule { name, .. } => text(name.parts().last()),
        }
    }

    fn symbols(self) -> Vec<Symbol> {
        let (name, words) = match self {
            Name::Rule { name, words, .. } => (name, words),
            Name::Unknown => {
                let digit = Symbol { set: Set::Hex, repeats: false };
                return UNKNOWN_PREFIX.bytes().map(Symbol::byte).chain([digit; UNKNOWN_DIGITS]).collect();
            }
        };
        let mut symbols = Vec::new();
        for part in name.parts() {
            match part {
                Part::Text(text) => symbols.extend(text.bytes().map(Symbol::byte)),
                Part::Placeholder(placeholder) => {
                    let class = words.get(&*placeholder.word()).copied().unwrap_or(Class::ANY);
                    symbols.extend([false, true].map(|repeats| Symbol { set: Set::Word(class), repeats }));
                }
            }
        }
        symbols
    }

    /// Whether there is a name that both can give: follows, symbol by symbol of this one, at which places of the other
    /// one can be when both have taken the same characters.
    fn could_be(self, other: Name<'_>) -> bool {
        let (symbols, other) = (self.symbols(), other.symbols());
        let places = other.len() + 1;
        let mut here = vec![false; places];
        mark(&mut here, 0);
        for a in &symbols {
            let mut next = vec![false; places];
            for place in 0..places {
                if here.get(place) != Some(&true) {
                    continue;
                }
                if a.repeats {
                    mark(&mut next, place);
                }
                let Some(b) = other.get(place) else { continue };
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
        left.is_some_and(|left| other.iter().skip(left).all(|symbol| symbol.repeats))
    }
}

fn text(part: Option<&Part>) -> &str {
    match part {
        Some(Part::Text(text)) => text,
        _ => "",
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

/// Templates by how they start and end. Two names can only be the same where the start of the one continues that of the
/// other, and so with their ends.
struct Templates {
    /// How long the starts and ends of templates are.
    starts: BTreeSet<usize>,
    ends: BTreeSet<usize>,
    whole: Hashed,
    /// Under each end that is as long as some template's end, and that theirs continues.
    continued: Hashed,
}

impl Templates {
    fn new(names: &[Name<'_>]) -> Self {
        let templates = (0_u32..).zip(names).filter(|(_, name)| !name.is_literal());
        let starts = sort::set(templates.clone().map(|(_, name)| name.start().len()));
        let ends = sort::set(templates.clone().map(|(_, name)| name.end().len()));
        let whole = templates.clone().map(|(at, name)| ((name.start(), name.end()), at));
        let continued = templates.flat_map(|(at, name)| {
            let shorter = ends.range(..=name.end().len());
            shorter.map(move |length| ((name.start(), last(name.end(), *length)), at))
        });
        Templates { starts, whole: Hashed::new(whole), continued: Hashed::new(continued), ends }
    }

    /// The templates that start like this name or shorter, and end alike.
    fn near(&self, name: Name<'_>) -> Vec<u32> {
        let (start, end) = (name.start(), name.end());
        let mut near = Vec::new();
        for length in self.starts.range(..=start.len()) {
            let start = start.get(..*length).unwrap_or_default();
            for length in self.ends.range(..end.len()) {
                near.extend(self.whole.get((start, last(end, *length))));
            }
            near.extend(self.continued.get((start, end)));
        }
        near
    }
}

/// So many bytes from the end of a name, which is ASCII.
fn last(text: &str, length: usize) -> &str {
    text.get(text.len().saturating_sub(length)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::pattern::{Separator, WordKind};
    use super::*;

    struct Owned {
        name: Template,
        words: Words,
    }

    impl Owned {
        fn new(text: &str, separator: Separator) -> Self {
            let name = Template::parse(text).unwrap();
            let class = Class::of(separator, WordKind::default());
            let words =
                name.placeholders().map(|placeholder| (placeholder.word().into_owned(), class)).collect();
            Owned { name, words }
        }

        fn name(&self) -> Name<'_> {
            Name::Rule { rule: 0, name: &self.name, words: &self.words }
        }
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
            let (a, b) = (Owned::new(a, separator), Owned::new(b, separator));
            let (a, b) = (a.name(), b.name());
            assert_eq!((a.could_be(b), b.could_be(a)), (meet, meet), "{a:?} {b:?}");
        }
        for (text, meet) in
            [("unknown-{x}", true), ("{x}", true), ("unknown-012345678abc", true), ("unknown-x{x}", false)]
        {
            assert_eq!(Owned::new(text, Dns).name().could_be(Name::Unknown), meet, "{text}");
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
            let [a, b, given] = [a, b, given].map(|text| Owned::new(&text, Separator::Dns));
            prop_assert!(a.name().could_be(given.name()));
            prop_assert!(!same || (a.name().could_be(b.name()) && b.name().could_be(a.name())));
        }

        #[test]
        fn the_index_finds_every_pair_that_meets(
            texts in proptest::collection::vec("[ab]{0,2}(\\{x\\}[ab]{0,2}){0,2}", 2..6),
        ) {
            let owned: Vec<Owned> = texts.iter().map(|text| Owned::new(text, Separator::Dns)).collect();
            let names: Vec<Name<'_>> = owned.iter().map(Owned::name).collect();
            let index = Templates::new(&names);
            for (i, a) in names.iter().copied().enumerate() {
                for (j, b) in names.iter().copied().enumerate().take(i) {
                    if !(a.is_literal() && b.is_literal()) && a.could_be(b) {
                        let (i, j) = (i as u32, j as u32);
                        prop_assert!(index.near(a).contains(&j) || index.near(b).contains(&i));
                    }
                }
            }
        }
    }
}
