//! What a capture may hold.

use super::Separator;

/// Longest capture that a rule does not allow to be longer, in characters: that of a DNS label (RFC 1035, section
/// 2.3.4).
pub(super) const MAX_CAPTURE: u8 = 63;

/// What a capture may hold: letters, digits, `_` and `-`; `.` where that does not end a segment; and what its rule
/// allows besides. Never `/`, which names of reserved clients have, nor any character that a header's value cannot
/// have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::policy) struct CaptureKind {
    /// The longest value, in characters.
    pub(in crate::policy) max: u8,
    pub(in crate::policy) dot: bool,
    pub(in crate::policy) colon: bool,
    pub(in crate::policy) at: bool,
}

impl Default for CaptureKind {
    fn default() -> Self {
        CaptureKind { max: MAX_CAPTURE, dot: false, colon: false, at: false }
    }
}

impl CaptureKind {
    /// Whether it may hold this byte in a text with these segments.
    pub(in crate::policy) fn holds(self, byte: u8, separator: Separator) -> bool {
        match byte {
            b'.' => self.dot || !separator.ends(b'.'),
            b':' => self.colon,
            b'@' => self.at,
            _ => is_capture_byte(byte),
        }
    }

    /// Whether it may hold characters that a capture by default may not.
    pub(super) fn holds_more(self, separator: Separator) -> bool {
        self.colon || self.at || self.spans(separator)
    }

    /// Whether it may hold the end of a segment.
    pub(super) fn spans(self, separator: Separator) -> bool {
        (self.dot && separator.ends(b'.')) || (self.at && separator.ends(b'@'))
    }
}

/// `[A-Za-z0-9._-]`: the characters of clients' names, and of captures by default.
pub(in crate::policy) fn is_capture_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}
