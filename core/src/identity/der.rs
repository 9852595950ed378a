//! Elements of DER (X.690), as certificates have them.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A tag `[number]` of a primitive element (X.680, section 31.2).
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// A tag `[number]` of a constructed element.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The elements that are not yet read.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

/// An element.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// With its tag and length.
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

impl<'a> Der<'a> {
    /// The next element. Lengths have their shortest form (X.690, section 10.1). Tags of more than one byte do not
    /// occur in the parts of a certificate that are read.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let all = self.0;
        let (&tag, rest) = all.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            let (bytes, behind) = rest.split_at_checked(count)?;
            if !(1..=3).contains(&count) || bytes.first() == Some(&0) {
                return None;
            }
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            if length < 0x80 {
                return None;
            }
            rest = behind;
        }
        let (content, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        let whole = all.get(..all.len() - behind.len())?;
        is_allowed(tag).then_some(Element { tag, whole, content })
    }

    /// The content of the next element.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()?.content_of(tag)
    }

    /// The next element, if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<Element<'a>>> {
        if self.0.first() == Some(&tag) { self.next().map(Some) } else { Some(None) }
    }

    /// The content of the last element, if it is the only one left.
    pub(super) fn only(&mut self, tag: u8) -> Option<&'a [u8]> {
        let content = self.content(tag)?;
        self.is_empty().then_some(content)
    }

    /// Whether all elements are read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    pub(super) fn content_of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// Whether DER can have this tag: of one byte, not reserved, and of the ASN.1 types only sequences and sets are
/// constructed (X.690, section 10.2).
fn is_allowed(tag: u8) -> bool {
    let number = tag & 0x1f;
    match tag {
        0x00 | 0x20 => false,
        0x01..0x40 => number != 0x1f && (tag & 0x20 != 0) == matches!(number, 8 | 11 | 16 | 17 | 29),
        _ => number != 0x1f,
    }
}

/// The bytes of an INTEGER in its shortest form (X.690, section 8.3.2).
pub(super) fn integer(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => None,
        _ => Some(content),
    }
}

/// The bytes of a BIT STRING, and the number of unused bits at their end, which are 0 (X.690, section 11.2).
pub(super) fn bit_string(content: &[u8]) -> Option<(&[u8], u8)> {
    let (&unused, bytes) = content.split_first()?;
    let last = bytes.last().copied();
    let padding = 1_u8.checked_shl(unused.into()).filter(|_| unused < 8)?.wrapping_sub(1);
    (last.unwrap_or_default() & padding == 0 && (last.is_some() || unused == 0)).then_some((bytes, unused))
}

/// A BOOLEAN (X.690, section 11.1).
pub(super) fn boolean(content: &[u8]) -> Option<bool> {
    match content {
        [0] => Some(false),
        [0xff] => Some(true),
        _ => None,
    }
}

/// An OBJECT IDENTIFIER in dotted form (X.690, section 8.19). Arcs have at most 128 bits: those of UUIDs are that long.
pub(super) fn oid(content: &[u8]) -> Option<String> {
    use core::fmt::Write;
    let (mut text, mut arc, mut continues) = (String::new(), 0_u128, false);
    for byte in content {
        if (!continues && *byte == 0x80) || arc >> 121 != 0 {
            return None;
        }
        arc = arc << 7 | u128::from(byte & 0x7f);
        continues = byte & 0x80 != 0;
        if continues {
            continue;
        }
        // The first two arcs are one number.
        let (root, rest) = match arc {
            0..40 => ("0.", 0),
            40..80 => ("1.", 40),
            _ => ("2.", 80),
        };
        let (before, less) = if text.is_empty() { (root, rest) } else { (".", 0) };
        write!(text, "{before}{}", arc - less).ok()?;
        arc = 0;
    }
    (!continues && !text.is_empty()).then_some(text)
}

/// The bytes of an element.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | length.len() as u8);
        out.extend_from_slice(length);
    } else {
        out.push(content.len() as u8);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_form_is_read() {
        for (bytes, read) in [
            (&[2, 1, 5][..], true),
            (&[2, 0x81, 1, 5], false),
            (&[2, 0x80, 5, 0, 0], false),
            (&[2, 0x84, 0, 0, 0, 1, 5], false),
            (&[2, 2, 5], false),
            (&[2], false),
            (&[], false),
            (&[0x1f, 0x85, 1, 0], false),
            (&[0xbf, 0x85, 1, 0], false),
            (&[0, 0], false),
            (&[0x22, 0], false),
            (&[0x10, 0], false),
            (&[0x30, 0], true),
            (&[0x85, 0], true),
        ] {
            assert_eq!(Der(bytes).next().is_some(), read, "{bytes:x?}");
        }
        let long = element(4, &[7; 300]);
        assert_eq!(long[..4], [4, 0x82, 1, 44]);
        assert_eq!(Der(&long).only(4), Some(&[7; 300][..]));
    }

    #[test]
    fn numbers_bits_and_booleans_have_one_form() {
        for (bytes, read) in [
            (&[0][..], true),
            (&[0xff], true),
            (&[0, 0x80], true),
            (&[0xff, 0x7f], true),
            (&[], false),
            (&[0, 0x7f], false),
            (&[0xff, 0x80], false),
        ] {
            assert_eq!(integer(bytes).is_some(), read, "{bytes:x?}");
        }
        for (bytes, read) in [
            (&[0][..], true),
            (&[0, 1], true),
            (&[7, 0x80], true),
            (&[], false),
            (&[1], false),
            (&[7, 0x40], false),
            (&[8, 0], false),
            (&[255, 0], false),
        ] {
            assert_eq!(bit_string(bytes).is_some(), read, "{bytes:x?}");
        }
        let booleans = [&[0][..], &[0xff], &[1], &[], &[0, 0]].map(boolean);
        assert_eq!(booleans, [Some(false), Some(true), None, None, None]);
    }

    #[test]
    fn oids_are_dotted() {
        for (bytes, text) in [
            (&[0x55, 4, 3][..], Some("2.5.4.3")),
            (&[0], Some("0.0")),
            (&[39], Some("0.39")),
            (&[79], Some("1.39")),
            (&[80], Some("2.0")),
            (&[0x88, 0x37, 1], Some("2.999.1")),
            (&[], None),
            (&[0x55, 0x80, 1], None),
            (&[0x55, 0x81], None),
        ] {
            assert_eq!(oid(bytes).as_deref(), text, "{bytes:x?}");
        }
        let most = [&[0x69, 0x83][..], &[0xff; 17], &[0x7f]].concat();
        assert_eq!(oid(&most), Some(format!("2.25.{}", u128::MAX)));
        assert_eq!(oid(&[&[0x69, 0x84][..], &[0x80; 17], &[0]].concat()), None);
    }
}
