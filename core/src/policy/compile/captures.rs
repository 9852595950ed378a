//! What captures may hold: as the rule's `words` allow it, and what follows for names made of them.

use std::collections::BTreeMap;

use super::super::nearest::nearest;
use super::super::pattern::{CaptureKind, Separator};
use super::super::problem::{PathRef, Problem};
use crate::config::CaptureConfig;

/// What captures may hold by the rule's `words`, by name.
pub(super) type CaptureKinds<'a> = BTreeMap<&'a str, CaptureKind>;

/// The captures of a rule, with the characters that each may hold.
pub(super) type CaptureClasses = BTreeMap<String, CaptureClass>;

/// The longest capture that a rule may allow, in characters: longer ones are of no use as names, and take the room of
/// other values in a header.
const LONGEST_CAPTURE: u8 = u8::MAX;

/// The characters of `[A-Za-z0-9._:@-]` that a capture may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CaptureClass {
    dot: bool,
    upper: bool,
    colon: bool,
    at: bool,
}

impl CaptureClass {
    pub(super) const ANY: CaptureClass = CaptureClass { dot: true, upper: true, colon: true, at: true };

    pub(super) fn of(separator: Separator, kind: CaptureKind) -> Self {
        CaptureClass {
            dot: kind.holds(b'.', separator),
            upper: separator != Separator::Dns,
            colon: kind.holds(b':', separator),
            at: kind.holds(b'@', separator),
        }
    }

    /// What either may hold.
    pub(super) fn or(self, other: CaptureClass) -> Self {
        CaptureClass {
            dot: self.dot || other.dot,
            upper: self.upper || other.upper,
            colon: self.colon || other.colon,
            at: self.at || other.at,
        }
    }

    /// Whether a capture may hold this character of a name.
    pub(super) fn holds(self, byte: u8) -> bool {
        match byte {
            b'.' => self.dot,
            b'A'..=b'Z' => self.upper,
            b':' => self.colon,
            b'@' => self.at,
            _ => true,
        }
    }
}

/// Compiles a rule's `words`.
pub(super) fn kinds<'a>(
    config: &'a BTreeMap<String, CaptureConfig>,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) -> CaptureKinds<'a> {
    let mut kinds = CaptureKinds::new();
    for (name, CaptureConfig { max, allow }) in config {
        let path = path.key(name);
        let mut kind = CaptureKind::default();
        if let Some(max) = *max {
            match u8::try_from(max) {
                Ok(max @ 1..=LONGEST_CAPTURE) => kind.max = max,
                _ => {
                    let message = format!("a capture may have 1 to {LONGEST_CAPTURE} characters, not {max}");
                    problems.push(Problem::new(path.key("max"), message));
                }
            }
        }
        for character in allow.chars() {
            match character {
                '.' => kind.dot = true,
                ':' => kind.colon = true,
                '@' => kind.at = true,
                other => {
                    let message = format!("`{}` cannot be allowed in a capture", other.escape_debug());
                    let hint = "use `.`, `:` and `@`; A-Z a-z 0-9 _ - are always allowed";
                    problems.push(Problem::new(path.key("allow"), message).hint(hint));
                    break;
                }
            }
        }
        kinds.insert(name, kind);
    }
    kinds
}

/// Finds entries of `words` that the rule does not capture.
pub(super) fn check(
    kinds: &CaptureKinds<'_>,
    captured: &CaptureClasses,
    path: &PathRef<'_>,
    problems: &mut Vec<Problem>,
) {
    for name in kinds.keys().filter(|name| !captured.contains_key(**name)) {
        let names = captured.keys().map(String::as_str);
        let hint = || match nearest(name, names) {
            Some(nearest) => Some(format!("did you mean `{nearest}`?")),
            None => Some(format!("write it in a pattern of `match` as {{{name}}}")),
        };
        let message = format!("`match` has no capture `{}`", name.escape_debug());
        problems.push(Problem::new(path.key(name), message).hint_with(hint));
    }
}
