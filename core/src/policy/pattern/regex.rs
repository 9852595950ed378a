//! Patterns as regular expressions, for programs that have no patterns.

use super::{Pattern, Separator, Token};

impl Pattern {
    /// A regular expression that matches the same whole texts with the same captures, in the syntax of RE2 and Go.
    pub fn regex(&self) -> String {
        let segment = match self.separator {
            Separator::Dns => r"\.",
            Separator::Uri => "/",
            Separator::Email => r"\.@",
            Separator::Subject => r"\./",
        };
        let mut regex = String::from("^");
        for token in &self.tokens {
            match token {
                Token::Literal(literal) => literal.chars().for_each(|character| {
                    if r"\.+*?()|[]{}^$".contains(character) {
                        regex.push('\\');
                    }
                    regex.push(character);
                }),
                Token::Star => regex.push_str(&format!("[^{segment}]+?")),
                Token::Capture(name, kind) => {
                    let more =
                        [b'.', b':', b'@'].into_iter().filter(|byte| kind.holds(*byte, self.separator));
                    let more: String = more.map(char::from).collect();
                    regex.push_str(&format!("(?P<{name}>[A-Za-z0-9{more}_-]{{1,{}}}?)", kind.max));
                }
                Token::Deep => regex.push_str("(?s:.)+?"),
            }
        }
        regex.push('$');
        regex
    }
}
