//! The names that a rule can give to clients, and whether two rules can give the same one.

use super::super::captures::{CaptureClass, CaptureClasses};
use crate::policy::rule::{UNKNOWN_DIGITS, UNKNOWN_PREFIX};
use crate::policy::template::{Segment, Template};

/// All names that clients can get from one source.
#[derive(Debug, Clone, Copy)]
pub(super) enum NameSet<'a> {
    /// A rule, by its index in `clients`.
    Rule { rule: usize, name: &'a Template, captures: &'a CaptureClasses },
    /// `unknown: TIER`: clients that no rule matches.
    Unknown,
}

/// One character of a name, or any number of such characters.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    set: Set,
    repeats: bool,
}

#[derive(Debug, Clone, Copy)]
enum Set {
    Byte(u8),
    Capture(CaptureClass),
    Hex,
}

impl<'a> NameSet<'a> {
    pub(super) fn rule(self) -> Option<usize> {
        match self {
            NameSet::Rule { rule, .. } => Some(rule),
            NameSet::Unknown => None,
        }
    }

    pub(super) fn is_literal(self) -> bool {
        matches!(self, NameSet::Rule { name, .. } if name.literal().is_some())
    }

    /// The text that every name starts with.
    pub(super) fn start(self) -> &'a str {
        match self {
            NameSet::Unknown => UNKNOWN_PREFIX,
            NameSet::Rule { name, .. } => text(name.segments().first()),
        }
    }

    /// The text that every name ends with.
    pub(super) fn end(self) -> &'a str {
        match self {
            NameSet::Unknown => "",
            NameSet::Rule { name, .. } => text(name.segments().last()),
        }
    }

    fn symbols(self) -> Vec<Symbol> {
        let (name, captures) = match self {
            NameSet::Rule { name, captures, .. } => (name, captures),
            NameSet::Unknown => {
                let digit = Symbol { set: Set::Hex, repeats: false };
                return UNKNOWN_PREFIX.bytes().map(Symbol::byte).chain([digit; UNKNOWN_DIGITS]).collect();
            }
        };
        let mut symbols = Vec::new();
        for segment in name.segments() {
            match segment {
                Segment::Text(text) => symbols.extend(text.bytes().map(Symbol::byte)),
                Segment::Placeholder(placeholder) => {
                    let class = captures.get(&*placeholder.name()).copied().unwrap_or(CaptureClass::ANY);
                    symbols.extend([false, true].map(|repeats| Symbol { set: Set::Capture(class), repeats }));
                }
            }
        }
        symbols
    }

    /// Whether both have a name in common. For each symbol of this set, follows the positions in the other that can be
    /// reached when both have consumed the same characters.
    pub(super) fn meets(self, other: NameSet<'_>) -> bool {
        let (symbols, other) = (self.symbols(), other.symbols());
        let positions = other.len() + 1;
        let mut here = vec![false; positions];
        mark(&mut here, 0);
        for a in &symbols {
            let mut next = vec![false; positions];
            for position in 0..positions {
                if here.get(position) != Some(&true) {
                    continue;
                }
                if a.repeats {
                    mark(&mut next, position);
                }
                let Some(b) = other.get(position) else { continue };
                if b.repeats {
                    mark(&mut here, position + 1);
                }
                if !a.set.meets(b.set) {
                    continue;
                }
                match (a.repeats, b.repeats) {
                    // Both repeat the same character: ending together loses nothing.
                    (true, true) => {}
                    (true, false) => mark(&mut here, position + 1),
                    (false, true) => mark(&mut next, position),
                    (false, false) => mark(&mut next, position + 1),
                }
            }
            here = next;
        }
        let left = here.iter().rposition(|reached| *reached);
        left.is_some_and(|left| other.iter().skip(left).all(|symbol| symbol.repeats))
    }
}

fn text(segment: Option<&Segment>) -> &str {
    match segment {
        Some(Segment::Text(text)) => text,
        _ => "",
    }
}

fn mark(positions: &mut [bool], position: usize) {
    if let Some(reached) = positions.get_mut(position) {
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
            (Set::Byte(byte), Set::Capture(class)) | (Set::Capture(class), Set::Byte(byte)) => {
                class.holds(byte)
            }
            (Set::Byte(byte), Set::Hex) | (Set::Hex, Set::Byte(byte)) => {
                matches!(byte, b'0'..=b'9' | b'a'..=b'f')
            }
            // Every capture may hold digits.
            (Set::Capture(_) | Set::Hex, Set::Capture(_) | Set::Hex) => true,
        }
    }
}
