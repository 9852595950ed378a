//! Texts of certificates in messages.

/// Longer texts are cut, in characters.
const LONGEST: usize = 100;

/// A text of a certificate for a message: at most 100 characters, with control characters escaped.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(LONGEST).collect();
    let more = if start.len() < text.len() { ".." } else { "" };
    format!("{}{more}", start.escape_debug())
}
