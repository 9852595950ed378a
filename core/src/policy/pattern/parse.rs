//! From a text to a pattern.

use core::fmt;

use super::capture::CaptureKind;
use super::{Pattern, Separator, Token};

const MAX_PATTERN: usize = 2048;
const MAX_WILDCARDS: usize = 16;

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The text is not a pattern.
    pub fn parse(text: &str, separator: Separator) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        // From here on, literal text is in lower case, as in the values.
        let folded = match separator {
            Separator::Dns => 0,
            Separator::Email => text.rfind('@').unwrap_or(text.len()),
            Separator::Uri | Separator::Subject => text.len(),
        };
        let mut tokens: Vec<Token> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (token, after) = match first {
                '*' => star(rest)?,
                '{' => capture(rest)?,
                '}' => return Err(PatternError::Brace),
                _ => literal(rest, folded.saturating_sub(text.len() - rest.len())),
            };
            let wild = !matches!(token, Token::Literal(_));
            if wild && tokens.last().is_some_and(|last| !matches!(last, Token::Literal(_))) {
                return Err(PatternError::Adjacent);
            }
            if let Token::Capture(name, _) = &token
                && tokens.iter().any(|other| matches!(other, Token::Capture(other, _) if other == name))
            {
                return Err(PatternError::Twice(name.to_string()));
            }
            tokens.push(token);
            rest = after;
        }
        if tokens.iter().filter(|token| !matches!(token, Token::Literal(_))).count() > MAX_WILDCARDS {
            return Err(PatternError::TooManyWildcards);
        }
        Ok(Pattern { tokens, separator })
    }
}

fn star(rest: &str) -> Result<(Token, &str), PatternError> {
    let after = rest.trim_start_matches('*');
    match rest.len() - after.len() {
        1 => Ok((Token::Star, after)),
        2 => Ok((Token::Deep, after)),
        _ => Err(PatternError::Adjacent),
    }
}

fn capture(rest: &str) -> Result<(Token, &str), PatternError> {
    let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return Err(PatternError::Brace);
    };
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(PatternError::CaptureName(name.to_owned()));
    }
    Ok((Token::Capture(name.into(), CaptureKind::default()), after))
}

/// The text up to the next wildcard, in lower case after its first `kept` bytes.
fn literal(rest: &str, kept: usize) -> (Token, &str) {
    let end = rest.find(['*', '{', '}']).unwrap_or(rest.len());
    let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let mut literal = literal.to_owned();
    if let Some(folded) = literal.get_mut(kept..) {
        folded.make_ascii_lowercase();
    }
    (Token::Literal(literal.into()), after)
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// It is empty.
    Empty,
    /// It is longer than 2048 bytes.
    TooLong,
    /// It has more than 16 wildcards.
    TooManyWildcards,
    /// A brace has no counterpart.
    Brace,
    /// Two wildcards are adjacent.
    Adjacent,
    /// The text between braces is not a name.
    CaptureName(String),
    /// Two captures have the same name.
    Twice(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => f.write_str("the pattern is empty"),
            PatternError::TooLong => write!(f, "the pattern is longer than {MAX_PATTERN} bytes"),
            PatternError::TooManyWildcards => {
                write!(f, "the pattern has more than {MAX_WILDCARDS} wildcards")
            }
            PatternError::Brace => f.write_str("a brace has no counterpart: write a capture as `{name}`"),
            PatternError::Adjacent => {
                f.write_str("two wildcards are adjacent: use one, or put text between them")
            }
            PatternError::CaptureName(name) => {
                write!(
                    f,
                    "`{{{name}}}` is not a name for a capture: use letters, digits and `_`, and start with a letter"
                )
            }
            PatternError::Twice(name) => write!(f, "`{{{name}}}` is captured twice"),
        }
    }
}
