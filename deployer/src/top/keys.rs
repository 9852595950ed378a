//! Keys, from the bytes that a terminal in raw mode sends.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Enter,
    Escape,
    Backspace,
    Left,
    Right,
    Up,
    Down,
    /// Ctrl-C.
    Interrupt,
}

/// The keys in what was read at once. Others, such as function keys, are skipped (ECMA-48, 5.4: control sequences).
pub(super) fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    loop {
        let (key, rest) = match bytes {
            [] => return keys,
            [0x1b, b'[' | b'O', rest @ ..] => {
                let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
                let (sequence, rest) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
                let key = match sequence {
                    b"A" => Some(Key::Up),
                    b"B" => Some(Key::Down),
                    b"C" => Some(Key::Right),
                    b"D" => Some(Key::Left),
                    _ => None,
                };
                (key, rest)
            }
            [0x1b, rest @ ..] => (Some(Key::Escape), rest),
            [0x03, rest @ ..] => (Some(Key::Interrupt), rest),
            [b'\r' | b'\n', rest @ ..] => (Some(Key::Enter), rest),
            [0x7f | 0x08, rest @ ..] => (Some(Key::Backspace), rest),
            [_, rest @ ..] => character(bytes).unwrap_or((None, rest)),
        };
        keys.extend(key);
        bytes = rest;
    }
}

/// The first character, unless it is a control character or not UTF-8.
fn character(bytes: &[u8]) -> Option<(Option<Key>, &[u8])> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
    };
    let character = text.chars().next().filter(|character| !character.is_control())?;
    Some((Some(Key::Character(character)), bytes.get(character.len_utf8()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_others_are_skipped() {
        for (bytes, want) in [
            (&b"q"[..], &[Key::Character('q')][..]),
            (b"\x1b[A\x1bOB\x1b[C\x1b[D", &[Key::Up, Key::Down, Key::Right, Key::Left]),
            (b"\x1b", &[Key::Escape]),
            (b"\x1bq", &[Key::Escape, Key::Character('q')]),
            (b"\r\x7f\x03", &[Key::Enter, Key::Backspace, Key::Interrupt]),
            ("\u{fc}\u{6f22}".as_bytes(), &[Key::Character('\u{fc}'), Key::Character('\u{6f22}')]),
            // F5, a mouse, half a sequence, other control characters, and half a character.
            (b"\x1b[15~a", &[Key::Character('a')]),
            (b"\x1b[<0;1;1Ma", &[Key::Character('a')]),
            (b"\x1b[1;", &[]),
            (b"\x00\x0b\x1ax", &[Key::Character('x')]),
            (b"\xc3x\xff", &[Key::Character('x')]),
        ] {
            assert_eq!(keys(bytes), want, "{bytes:?}");
        }
    }
}
