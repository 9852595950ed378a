//! JSON, read in place: strictly, without a tree and without recursion.
//!
//! The scanner is stricter than RFC 8259. If two decoders could disagree about the meaning of a text, a client could
//! show one thing to the filter and another to the backend:
//!
//! - A member that the filter reads may occur once in its object, in one spelling. The Collector merges duplicates,
//!   other decoders take the last, and protobuf's own decoders reject them.
//! - No member name may differ from such a name only in case: Go's encoding/json would take it.
//! - A string that the filter does not read may have bytes that are not UTF-8. A member name or an attribute key may
//!   not.
//! - No member name is empty, at any depth. jsoniter's `ReadObject`, which the Collector's decoder uses, takes an empty
//!   name for the end of the object, and reads what follows as part of the outer object.

use std::borrow::Cow;

use super::chunk::{self, Chunk};
use super::nesting::Nesting;
use crate::otlp::protobuf::Malformed;

/// The members to look for in an object, each in all its spellings.
pub(super) type Fields = &'static [&'static [&'static str]];

/// The longest member name or key with escapes, in bytes. Its decoded form is held in addition to the message.
const MAX_ESCAPED: usize = 1 << 16;

/// What exporters write from the end of an attribute's key to its value.
const STRING_VALUE: &[u8] = br#"","value":{"stringValue":""#;
const INT_VALUE: &[u8] = br#"","value":{"intValue":""#;
/// What exporters write from the end of such a value to the key of the next attribute.
const NEXT_KEY: &[u8] = br#""}},{"key":""#;

/// A position in a JSON text.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// An object or array that was entered.
pub(super) struct Open {
    close: u8,
    /// Nothing in it has been read, so far or at all.
    pub(super) empty: bool,
    /// Which fields have been read, with a bit for each.
    seen: u32,
    /// The offset of its closing bracket, after that has been read.
    pub(super) end: usize,
}

impl Open {
    /// Whether `field` has been read.
    pub(super) fn has(&self, field: usize) -> bool {
        self.seen & 1 << field != 0
    }

    /// Whether any field has been read.
    pub(super) fn seen(&self) -> bool {
        self.seen != 0
    }
}

/// A string between its quotes.
#[derive(Clone, Copy)]
struct Text {
    start: usize,
    end: usize,
    escaped: bool,
    /// Whether it has only ASCII outside of escapes.
    ascii: bool,
}

impl<'a> Scanner<'a> {
    /// The start of `text`.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0 }
    }

    /// The current offset.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The offset of the next token.
    pub(super) fn start(&mut self) -> usize {
        self.token();
        self.at
    }

    /// Enters the next value, which must be an object or array with this opening bracket; `None` if it is null.
    pub(super) fn enter(&mut self, open: u8) -> Result<Option<Open>, Malformed> {
        let token = self.token();
        if token == Some(b'n') {
            self.literal(b"null")?;
            return Ok(None);
        }
        let (close, what) =
            if open == b'{' { (b'}', "expected a JSON object") } else { (b']', "expected a JSON array") };
        if token != Some(open) {
            return Err(self.malformed(what));
        }
        self.at += 1;
        Ok(Some(Open { close, empty: true, seen: 0, end: 0 }))
    }

    /// Goes to the value of the next member that is one of `fields`, and returns which; `None` at the end of the
    /// object.
    pub(super) fn member(&mut self, object: &mut Open, fields: Fields) -> Result<Option<usize>, Malformed> {
        while self.next(object)?.is_some() {
            let start = self.start();
            let name = self.name()?;
            let Some(field) = field_of(self.decoded(name)?.as_ref(), fields)
                .map_err(|what| Malformed { what, at: start })?
            else {
                self.skip()?;
                continue;
            };
            if object.has(field) {
                return Err(Malformed { what: "duplicate member in a JSON object", at: start });
            }
            object.seen |= 1 << field;
            return Ok(Some(field));
        }
        Ok(None)
    }

    /// Goes to the next element or member. Returns the offset of the comma before it, or of the first element itself;
    /// `None` at the end.
    pub(super) fn next(&mut self, open: &mut Open) -> Result<Option<usize>, Malformed> {
        let token = self.token();
        let at = self.at;
        if token == Some(open.close) {
            open.end = at;
            self.at += 1;
            return Ok(None);
        }
        if open.empty {
            open.empty = false;
        } else if token == Some(b',') {
            self.at += 1;
        } else {
            return Err(self.malformed("expected a comma or a closing bracket in JSON"));
        }
        Ok(Some(at))
    }

    /// The next value, which must be a string, decoded. Null is an empty string.
    pub(super) fn text(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        if self.token() == Some(b'n') {
            self.literal(b"null")?;
            return Ok(Cow::Borrowed(b""));
        }
        let text = self.read_string()?;
        self.decoded(text)
    }

    /// The next value, which must be an index, possibly in quotes. Null is 0. Other spellings of a number, such as
    /// `1e1`, are an error.
    pub(super) fn index(&mut self) -> Result<u64, Malformed> {
        let start = self.start();
        let digits = match self.token() {
            Some(b'n') => return self.literal(b"null").map(|()| 0),
            Some(b'"') => self.string().map(|text| self.text.get(text.start..text.end))?,
            _ => self.number().map(|()| self.text.get(start..self.at))?,
        };
        let digits = digits.and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or_default();
        let plain = digits == "0" || digits.starts_with(|first: char| matches!(first, '1'..='9'));
        digits
            .parse::<i32>()
            .ok()
            .filter(|_| plain)
            .and_then(|index| u64::try_from(index).ok())
            .ok_or(Malformed { what: "index is not a plain integer", at: start })
    }

    /// Skips the next value.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        // Nearly all of a message is skipped here. The offset of a copy stays in a register, as long as functions that are
        // not inlined take the copy by value.
        let mut scanner = *self;
        let mut nesting = Nesting::default();
        loop {
            if nesting.in_object() {
                scanner.name()?;
            }
            match scanner.token() {
                Some(b'"') => scanner.skip_strings(&mut nesting)?,
                Some(open @ (b'{' | b'[')) => {
                    scanner.at += 1;
                    let object = open == b'{';
                    if scanner.token() != Some(if object { b'}' } else { b']' }) {
                        scanner.open(&mut nesting, object)?;
                        continue;
                    }
                    scanner.at += 1;
                }
                Some(b'-' | b'0'..=b'9') => scanner.number()?,
                Some(b't') => scanner.literal(b"true")?,
                Some(b'f') => scanner.literal(b"false")?,
                Some(b'n') => scanner.literal(b"null")?,
                _ => return Err(scanner.malformed("expected a JSON value")),
            }
            loop {
                if nesting.is_empty() {
                    *self = scanner;
                    return Ok(());
                }
                match scanner.token() {
                    Some(b',') => {
                        scanner.at += 1;
                        break;
                    }
                    Some(b'}') if nesting.in_object() => {}
                    Some(b']') if !nesting.in_object() => {}
                    _ => return Err(scanner.malformed("expected a comma or a closing bracket in JSON")),
                }
                scanner.at += 1;
                nesting.close();
            }
        }
    }

    /// Skips a string. If it is in an attribute that is spelled as exporters do, also the strings of this attribute and
    /// the next ones: one comparison leads from a string to the next, instead of up to eight tokens.
    #[inline(always)]
    fn skip_strings(&mut self, nesting: &mut Nesting) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.string_end()?;
            let rest = self.text.get(self.at..).unwrap_or_default();
            let in_object = nesting.in_object();
            self.at += if in_object && rest.starts_with(STRING_VALUE) {
                self.open(nesting, true)?;
                STRING_VALUE.len()
            } else if rest.starts_with(NEXT_KEY) && nesting.next_of_array() {
                NEXT_KEY.len()
            } else if in_object && rest.starts_with(INT_VALUE) {
                self.open(nesting, true)?;
                INT_VALUE.len()
            } else {
                self.at += 1;
                return Ok(());
            };
        }
    }

    #[inline(always)]
    fn open(self, nesting: &mut Nesting, object: bool) -> Result<(), Malformed> {
        if nesting.open(object) { Ok(()) } else { Err(self.malformed("JSON nested too deeply")) }
    }

    /// Skips the next value, which must be an object or null.
    pub(super) fn skip_message(&mut self) -> Result<(), Malformed> {
        match self.token() {
            Some(b'{' | b'n') => self.skip(),
            _ => Err(self.malformed("expected a JSON object")),
        }
    }

    /// Checks that the text ends here.
    pub(super) fn finish(&mut self) -> Result<(), Malformed> {
        match self.token() {
            None => Ok(()),
            Some(_) => Err(self.malformed("data after the end of the JSON text")),
        }
    }

    /// The first byte of the next token.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        match self.text.get(self.at) {
            Some(&byte) if byte <= b' ' => {
                self.at = after_spaces(self.text, self.at);
                self.text.get(self.at).copied()
            }
            other => other.copied(),
        }
    }

    /// Reads a member name and the colon after it.
    #[inline(always)]
    fn name(&mut self) -> Result<Text, Malformed> {
        let start = self.start();
        let name = self.read_string()?;
        if name.start == name.end {
            return Err(Malformed { what: "empty member name in a JSON object", at: start });
        }
        if self.token() != Some(b':') {
            return Err(self.malformed("expected a colon in JSON"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Reads a member name, or a string that matters to the filter. It must be UTF-8: decoders replace, reject or drop
    /// other bytes.
    #[inline(always)]
    fn read_string(&mut self) -> Result<Text, Malformed> {
        let text = self.string()?;
        if !text.ascii {
            self.check_utf8(text)?;
        }
        Ok(text)
    }

    #[cold]
    fn check_utf8(self, text: Text) -> Result<(), Malformed> {
        let bytes = self.text.get(text.start..text.end).unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(Malformed { what: "member name or key in JSON is not UTF-8", at: text.start }),
        }
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Text, Malformed> {
        if self.token() != Some(b'"') {
            return Err(self.malformed("expected a JSON string"));
        }
        self.at += 1;
        let start = self.at;
        let (escaped, ascii) = self.string_end()?;
        let end = self.at;
        self.at += 1;
        Ok(Text { start, end, escaped, ascii })
    }

    /// Goes to the closing quote of the string that the scanner is in. Returns whether it has escapes, and whether it
    /// is ASCII.
    #[inline(always)]
    fn string_end(&mut self) -> Result<(bool, bool), Malformed> {
        let mut escaped = false;
        let mut not_ascii = 0;
        loop {
            let bytes = Chunk::of(self.text, self.at);
            let specials = bytes.specials();
            if specials == 0 {
                not_ascii |= bytes.not_ascii();
                self.at += chunk::LEN;
                continue;
            }
            // The bits up to that of the first special byte.
            not_ascii |= bytes.not_ascii() & (specials ^ (specials - 1));
            self.at += specials.trailing_zeros() as usize;
            if self.text.get(self.at) == Some(&b'"') {
                return Ok((escaped, not_ascii == 0));
            }
            self.at = self.after_escape()?;
            escaped = true;
        }
    }

    /// The offset after the escape that begins here. Another special byte, or the end of the text, is an error.
    #[inline(never)]
    fn after_escape(self) -> Result<usize, Malformed> {
        let len = match (self.text.get(self.at), self.text.get(self.at + 1)) {
            (Some(b'\\'), Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => 2,
            (Some(b'\\'), Some(b'u')) if self.unit(self.at).is_some() => 6,
            (Some(b'\\'), _) => return Err(self.malformed("invalid escape in a JSON string")),
            _ => return Err(self.malformed("control character in a JSON string")),
        };
        Ok(self.at + len)
    }

    /// The UTF-16 code unit of the `\uXXXX` at `at`.
    fn unit(self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    }

    /// A string without its escapes.
    ///
    /// # Errors
    /// It has an unpaired surrogate, which decoders replace, keep or reject, or is too long.
    #[inline]
    fn decoded(&self, text: Text) -> Result<Cow<'a, [u8]>, Malformed> {
        let bytes = self.text.get(text.start..text.end).unwrap_or_default();
        if text.escaped { self.unescaped(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(bytes)) }
    }

    #[cold]
    fn unescaped(self, text: Text) -> Result<Vec<u8>, Malformed> {
        if text.end - text.start > MAX_ESCAPED {
            return Err(Malformed { what: "escaped member name or key longer than 64 KiB", at: text.start });
        }
        let mut out = Vec::with_capacity(text.end - text.start);
        let mut at = text.start;
        while let Some(&byte) = self.text.get(at..text.end).and_then(|rest| rest.first()) {
            if byte != b'\\' {
                out.push(byte);
                at += 1;
                continue;
            }
            let escape = self.text.get(at + 1).copied().unwrap_or_default();
            if escape != b'u' {
                out.push(match escape {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                });
                at += 2;
                continue;
            }
            let first = self.unit(at).unwrap_or_default();
            let (code, len) = match (first, self.unit(at + 6)) {
                (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                    (0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00)), 12)
                }
                _ => (first, 6),
            };
            let Some(decoded) = char::from_u32(code) else {
                return Err(Malformed { what: "unpaired surrogate in a JSON string", at });
            };
            out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
            at += len;
        }
        Ok(out)
    }

    /// Skips a number (RFC 8259, section 6).
    #[inline(always)]
    fn number(&mut self) -> Result<(), Malformed> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at = self.after_exponent()?;
        }
        Ok(())
    }

    /// The offset after the exponent that begins here.
    #[cold]
    fn after_exponent(mut self) -> Result<usize, Malformed> {
        self.at += 1;
        if let Some(b'+' | b'-') = self.text.get(self.at) {
            self.at += 1;
        }
        self.digits()?;
        Ok(self.at)
    }

    /// Skips digits, at least one.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        loop {
            let others = Chunk::of(self.text, self.at).not_digits();
            if others != 0 {
                self.at += others.trailing_zeros() as usize;
                break;
            }
            self.at += chunk::LEN;
        }
        if self.at == start { Err(self.malformed("expected a digit in a JSON number")) } else { Ok(()) }
    }

    #[inline(always)]
    fn literal(&mut self, literal: &[u8]) -> Result<(), Malformed> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(literal)) {
            return Err(self.malformed("expected a JSON value"));
        }
        self.at += literal.len();
        Ok(())
    }

    #[cold]
    fn malformed(self, what: &'static str) -> Malformed {
        let what = if self.at >= self.text.len() { "truncated JSON" } else { what };
        Malformed { what, at: self.at }
    }
}

/// The offset of the first byte from `at` on that is not whitespace. The byte at `at` is whitespace or a control
/// character.
#[inline(never)]
fn after_spaces(text: &[u8], mut at: usize) -> usize {
    // One space is most frequent in a text that is not compact.
    if text.get(at) == Some(&b' ') && text.get(at + 1).is_some_and(|&next| next > b' ') {
        return at + 1;
    }
    loop {
        let others = Chunk::of(text, at).not_spaces();
        if others != 0 {
            return at + others.trailing_zeros() as usize;
        }
        at += chunk::LEN;
    }
}

/// Which of `fields` a name is.
///
/// # Errors
/// It differs from one of them only in case.
fn field_of(name: &[u8], fields: Fields) -> Result<Option<usize>, &'static str> {
    let position = |same: &dyn Fn(&[u8]) -> bool| {
        fields.iter().position(|spellings| spellings.iter().any(|spelling| same(spelling.as_bytes())))
    };
    if let Some(field) = position(&|spelling| spelling == name) {
        return Ok(Some(field));
    }
    match position(&|spelling| folds_to(name, spelling)) {
        Some(_) => Err("member name differs from an OTLP name only in case"),
        None => Ok(None),
    }
}

/// Whether a name is `spelling`, which is ASCII, in any case. As in Go's `bytes.EqualFold`, `ſ` is a variant of `s` and
/// the Kelvin sign of `k`.
fn folds_to(name: &[u8], spelling: &[u8]) -> bool {
    // A variant has at most three bytes.
    if name.len() < spelling.len() || name.len() > 3 * spelling.len() {
        return false;
    }
    let name = core::str::from_utf8(name).unwrap_or_default();
    let folded = name.chars().map(|letter| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(spelling.iter().map(|&letter| char::from(letter).to_ascii_lowercase()))
}
