//! Protobuf's wire format, read without a schema: fields and their offsets in the buffer. Source: protobuf's "Encoding"
//! document.
//!
//! The reader is stricter than most decoders. If two decoders could disagree about the meaning of some bytes, a client
//! could show one thing to the filter and another to the backend. Such input is [`Malformed`].

pub(super) mod splice;

use core::fmt;

/// An error in the input, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong, in words for the client.
    pub what: &'static str,
    /// The offset in the message, in bytes.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// A field: its number, its value, and the offset of its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) value: Value,
    pub(super) start: usize,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    Len(Span),
    /// Eight bytes, which are skipped.
    Fixed64,
    /// Four bytes or a group, which are skipped: no field that the filter reads has one.
    Skipped,
}

/// A range of the buffer, which was checked to be inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Field {
    /// The value of a field that must be length-delimited.
    ///
    /// # Errors
    /// It has another wire type. Go's decoders reject that, and C++'s take it for an unknown field.
    pub(super) fn message(&self) -> Result<Span, Malformed> {
        match self.value {
            Value::Len(span) => Ok(span),
            _ => Err(Malformed { what: "wrong wire type for a message or string", at: self.start }),
        }
    }

    /// The value of a field that must be a varint.
    ///
    /// # Errors
    /// It has another wire type.
    pub(super) fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(Malformed { what: "wrong wire type for an integer", at: self.start }),
        }
    }
}

/// The length-delimited fields with this number in a message, up to the first error in it.
pub fn find_bytes(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    let mut fields = Reader::whole(message);
    core::iter::from_fn(move || {
        while let Ok(Some(field)) = fields.next() {
            match field.value {
                Value::Len(span) if field.number == number => return message.get(span.start..span.end),
                _ => {}
            }
        }
        None
    })
}

/// How deep groups may be nested. Protobuf's decoders stop at 100 levels of nesting.
const MAX_GROUPS: usize = 64;

/// Reads the fields of a message inside a larger buffer. Offsets are those of the buffer.
pub(super) struct Reader<'a> {
    buffer: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// The fields of `buffer[span]`.
    pub(super) fn new(buffer: &'a [u8], span: Span) -> Self {
        // A span is never outside its buffer. If it were, an empty reader would be safe.
        let buffer = buffer.get(..span.end).unwrap_or_default();
        Reader { buffer, position: span.start }
    }

    /// The fields of the whole buffer.
    pub(super) fn whole(buffer: &'a [u8]) -> Self {
        Reader { buffer, position: 0 }
    }

    /// The next field; `None` at the end.
    ///
    /// # Errors
    /// The message is malformed.
    pub(super) fn next(&mut self) -> Result<Option<Field>, Malformed> {
        self.next_inlined()
    }

    /// Does what [`Reader::next`] does, inlined into the one loop that visits every item.
    #[inline(always)]
    pub(super) fn next_inlined(&mut self) -> Result<Option<Field>, Malformed> {
        if self.position >= self.buffer.len() {
            return Ok(None);
        }
        let start = self.position;
        let (number, wire) = self.tag()?;
        let value = match wire {
            2 => Value::Len(self.len()?),
            0 => Value::Varint(self.varint()?),
            _ => self.rare(number, wire, start)?,
        };
        Ok(Some(Field { number, value, start }))
    }

    #[cold]
    fn rare(&mut self, number: u32, wire: u8, start: usize) -> Result<Value, Malformed> {
        match wire {
            1 => return self.skip(8).map(|()| Value::Fixed64),
            5 => self.skip(4)?,
            3 => self.group(number)?,
            4 => return Err(Malformed { what: "group end without a group start", at: start }),
            _ => return Err(Malformed { what: "unknown wire type", at: start }),
        }
        Ok(Value::Skipped)
    }

    /// A tag. Go's decoder cuts a field number above 2^29 - 1 to 32 bits, so it could be the number of any field.
    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let at = self.position;
        let tag = u32::try_from(self.short_varint()?)
            .map_err(|_| Malformed { what: "field number above 2^29 - 1", at })?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed { what: "field number 0", at });
        }
        Ok((number, (tag & 7) as u8))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        self.varint_of::<10>()
    }

    /// A tag or a length. protobufjs 6 and 7 take one of 6 to 9 bytes for one of 10, and go on at another offset than
    /// other decoders. No encoder writes more than 5 bytes.
    #[inline]
    fn short_varint(&mut self) -> Result<u64, Malformed> {
        self.varint_of::<5>()
    }

    /// A varint of at most `MOST` bytes.
    #[inline]
    fn varint_of<const MOST: usize>(&mut self) -> Result<u64, Malformed> {
        // Nearly all tags have one byte, and lengths at most two.
        match *self.buffer.get(self.position..).unwrap_or_default() {
            [low @ ..0x80, ..] => {
                self.position += 1;
                Ok(u64::from(low))
            }
            [low, high @ ..0x80, ..] => {
                self.position += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(MOST),
        }
    }

    /// The value of `field`, which was read last, as a 32-bit integer.
    ///
    /// # Errors
    /// It is no varint, or one of 6 to 9 bytes: see `short_varint`. A negative integer has 10 bytes.
    pub(super) fn varint32(&self, field: &Field) -> Result<u64, Malformed> {
        let value = field.varint()?;
        let read = self.buffer.get(..self.position).unwrap_or_default();
        let bytes = 1 + read.iter().rev().skip(1).take_while(|byte| **byte >= 0x80).count();
        match bytes {
            6..10 => Err(Malformed { what: "32-bit integer encoded in 6 to 9 bytes", at: field.start }),
            _ => Ok(value),
        }
    }

    #[cold]
    fn long_varint(&mut self, most: usize) -> Result<u64, Malformed> {
        let at = self.position;
        let mut value = 0u64;
        for (index, &byte) in self.buffer.get(at..).unwrap_or_default().iter().take(10).enumerate() {
            // The tenth byte has room for one bit. Decoders differ in what they do with more.
            if index == 9 && byte > 1 {
                return Err(Malformed { what: "varint above 64 bits", at });
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index >= most {
                    return Err(Malformed { what: "tag or length longer than 5 bytes", at });
                }
                self.position = at + index + 1;
                return Ok(value);
            }
        }
        let what = if self.buffer.len() - at < 10 { "truncated varint" } else { "varint above 64 bits" };
        Err(Malformed { what, at })
    }

    #[inline]
    fn len(&mut self) -> Result<Span, Malformed> {
        let at = self.position;
        let len = self.short_varint()?;
        let left = self.buffer.len() - self.position;
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let start = self.position;
                self.position += len;
                Ok(Span { start, end: self.position })
            }
            _ => Err(Malformed { what: "length beyond the end of the enclosing message", at }),
        }
    }

    fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        if self.buffer.len() - self.position < len {
            return Err(Malformed { what: "truncated value", at: self.position });
        }
        self.position += len;
        Ok(())
    }

    /// Skips to the end of the group `number`, with the groups in it.
    fn group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = [0; MAX_GROUPS];
        let mut depth = 0;
        let mut current = number;
        loop {
            let at = self.position;
            if at >= self.buffer.len() {
                return Err(Malformed { what: "truncated group", at });
            }
            let (number, wire) = self.tag()?;
            match wire {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                2 => drop(self.len()?),
                5 => self.skip(4)?,
                3 => {
                    let Some(slot) = open.get_mut(depth) else {
                        return Err(Malformed { what: "groups nested too deeply", at });
                    };
                    *slot = current;
                    depth += 1;
                    current = number;
                }
                4 if number == current => match depth.checked_sub(1).and_then(|top| open.get(top)) {
                    Some(&outer) => {
                        depth -= 1;
                        current = outer;
                    }
                    None => return Ok(()),
                },
                4 => return Err(Malformed { what: "group end with the wrong field number", at }),
                _ => return Err(Malformed { what: "unknown wire type", at }),
            }
        }
    }
}

/// Writes a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of bytes that [`put_varint`] writes.
pub(super) fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Writes a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a varint field. Zero is left out, as in proto3.
pub fn put_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<Field>, Malformed> {
        let mut reader = Reader::whole(bytes);
        let mut fields = Vec::new();
        while let Some(field) = reader.next()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn reads_every_wire_type() {
        let bytes =
            [0x08, 0x96, 0x01, 0x12, 1, b'x', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x2b, 0x2c];
        let values: Vec<_> =
            fields(&bytes).unwrap().iter().map(|field| (field.number, field.value)).collect();
        let skipped = Value::Skipped;
        assert_eq!(
            values,
            [
                (1, Value::Varint(150)),
                (2, Value::Len(Span { start: 5, end: 6 })),
                (3, skipped),
                (4, Value::Fixed64),
                (5, skipped)
            ]
        );
    }

    #[test]
    fn rejects_input_that_decoders_disagree_about() {
        for (bytes, what) in [
            (&b"\x00"[..], "field number 0"),
            (b"\x0c", "group end without a group start"),
            (b"\x0e", "unknown wire type"),
            (b"\x0f", "unknown wire type"),
            (b"\x0b\x14", "group end with the wrong field number"),
            (b"\x0b", "truncated group"),
            (b"\x0a\x02\x00", "length beyond the end of the enclosing message"),
            (b"\x0a\xff\xff\xff\xff\x0f", "length beyond the end of the enclosing message"),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "tag or length longer than 5 bytes"),
            (b"\x08", "truncated varint"),
            (b"\x08\x80", "truncated varint"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "varint above 64 bits"),
            (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "varint above 64 bits"),
            (b"\x8a\x80\x80\x80\x80\x02\x00", "tag or length longer than 5 bytes"),
            (b"\x8a\x80\x80\x80\x10\x00", "field number above 2^29 - 1"),
            (b"\x0d\x00", "truncated value"),
        ] {
            assert_eq!(fields(bytes).unwrap_err().what, what, "{bytes:x?}");
        }
        assert_eq!(fields(&[0x0b; 100]).unwrap_err().what, "groups nested too deeply");
    }

    #[test]
    fn reads_varints_that_are_longer_than_needed() {
        assert_eq!(fields(b"\x8a\x80\x00\x81\x00x").unwrap()[0].value, Value::Len(Span { start: 5, end: 6 }));
    }

    #[test]
    fn varint_len_is_the_number_of_bytes() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert_eq!(bytes.len(), varint_len(value), "{value}");
                bytes.insert(0, 8);
                assert_eq!(fields(&bytes).unwrap()[0].value, Value::Varint(value));
            }
        }
    }
}
