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

use crate::otlp::protobuf::Malformed;

/// The members to look for in an object, each in all its spellings.
pub(super) type Fields = &'static [&'static [&'static str]];

/// How deep objects and arrays may be nested in a value that is skipped. A map in a map is four levels, and SDKs write
/// up to 64 levels of maps by default. The Collector reads ten thousand levels.
const MAX_DEPTH: usize = 512;

/// The longest member name or key with escapes, in bytes. Its decoded form is held in addition to the message.
const MAX_ESCAPED: usize = 1 << 16;

/// A position in a JSON text.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether the whole text is UTF-8. If not, names and keys must still be; only other strings may have other bytes.
    utf8: bool,
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
}

impl<'a> Scanner<'a> {
    /// The start of `text`.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0, utf8: core::str::from_utf8(text).is_ok() }
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
        // The open objects (1) and arrays (0), with the innermost in the lowest bit. `outer` keeps each further 64 of
        // them.
        let mut objects = 0u64;
        let mut outer = [0u64; MAX_DEPTH / 64];
        let mut depth = 0;
        loop {
            let token = self.token();
            match token {
                Some(b'"') => drop(self.string()?),
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    let object = open == b'{';
                    if self.token() != Some(if object { b'}' } else { b']' }) {
                        if depth % 64 == 0 {
                            let Some(aside) = outer.get_mut(depth / 64) else {
                                return Err(self.malformed("JSON nested too deeply"));
                            };
                            *aside = objects;
                        }
                        depth += 1;
                        objects = objects << 1 | u64::from(object);
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(self.malformed("expected a JSON value")),
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                match self.token() {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.name()?;
                        }
                        break;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => return Err(self.malformed("expected a comma or a closing bracket in JSON")),
                }
                self.at += 1;
                depth -= 1;
                objects >>= 1;
                if depth % 64 == 0 {
                    objects = outer.get(depth / 64).copied().unwrap_or_default();
                }
            }
        }
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
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Reads a member name and the colon after it.
    #[inline]
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
    #[inline]
    fn read_string(&mut self) -> Result<Text, Malformed> {
        let text = self.string()?;
        if !self.utf8 {
            let bytes = self.text.get(text.start..text.end).unwrap_or_default();
            if core::str::from_utf8(bytes).is_err() {
                return Err(Malformed { what: "member name or key in JSON is not UTF-8", at: text.start });
            }
        }
        Ok(text)
    }

    fn string(&mut self) -> Result<Text, Malformed> {
        if self.token() != Some(b'"') {
            return Err(self.malformed("expected a JSON string"));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.text.get(self.at) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Text { start, end, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.malformed("control character in a JSON string")),
            }
        }
    }

    /// Skips bytes of a string that need no attention, eight at a time: nearly all of a message is strings.
    #[inline]
    fn skip_plain(&mut self) {
        const ONES: u64 = u64::MAX / 255;
        const HIGHS: u64 = ONES << 7;
        while let Some(&bytes) = self.text.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(bytes);
            // Sets the high bit of the lowest zero byte: "Bit Twiddling Hacks", "Determine if a word has a zero byte".
            let zero = |word: u64| word.wrapping_sub(ONES) & !word;
            let quote = zero(word ^ (ONES * u64::from(b'"')));
            let backslash = zero(word ^ (ONES * u64::from(b'\\')));
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let found = (quote | backslash | control) & HIGHS;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.text.get(self.at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let len = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.unit(self.at).is_some() => 6,
            _ => return Err(self.malformed("invalid escape in a JSON string")),
        };
        self.at += len;
        Ok(())
    }

    /// The UTF-16 code unit of the `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Option<u32> {
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
    fn unescaped(&self, text: Text) -> Result<Vec<u8>, Malformed> {
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
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips digits, at least one.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed("expected a digit in a JSON number")) } else { Ok(()) }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), Malformed> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(literal)) {
            return Err(self.malformed("expected a JSON value"));
        }
        self.at += literal.len();
        Ok(())
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Malformed {
        let what = if self.at >= self.text.len() { "truncated JSON" } else { what };
        Malformed { what, at: self.at }
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
