//! Bytes as hex digits.

/// Two lower-case hex digits per byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).map(|digit| char::from(*digit)).collect()
}

/// Reads 1 to `most` bytes: two hex digits of either case for each, with or without colons between them.
pub fn parse_hex(text: &str, most: usize) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = if text.contains(':') {
        text.split(':').map(|part| pair(part.as_bytes())).collect()
    } else {
        text.as_bytes().chunks(2).map(pair).collect()
    };
    bytes.filter(|bytes| (1..=most).contains(&bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_and_case_make_no_difference() {
        for text in ["00aF10", "00:af:10", "00:AF:10"] {
            assert_eq!(parse_hex(text, 3).as_deref(), Some(&[0, 0xaf, 0x10][..]), "{text}");
        }
        assert_eq!(hex(&[0, 0xaf, 0x10]), "00af10");
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "", "0", "0x00", "00:", ":00", "00::00", "0:00", "000:0", "00 00", "zz", "00ü", "00:aabb",
            "00112233",
        ] {
            assert_eq!(parse_hex(text, 3), None, "{text}");
        }
    }
}
