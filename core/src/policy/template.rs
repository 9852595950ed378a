//! Templates: text with placeholders, such as `{org}-{site}` or `{subject.CN}`.

use core::fmt;
use std::borrow::Cow;

const MAX_TEMPLATE: usize = 4096;

/// A parsed template. `{{` and `}}` stand for braces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

/// A segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Literal text.
    Text(Box<str>),
    /// A placeholder, which is replaced by its value.
    Placeholder(Placeholder),
}

/// A placeholder, by what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// The client's name.
    Name,
    /// The URI SAN that the rule's pattern matched, or the first one.
    Spiffe,
    /// The DNS SAN, likewise.
    Dns,
    /// The e-mail SAN, likewise.
    Email,
    /// The IP SAN, likewise.
    Ip,
    /// The whole subject.
    Subject,
    /// The value of one key of the subject.
    SubjectKey(Box<str>),
    /// The whole name of the issuer, as the certificate has it.
    Issuer,
    /// The name of the client CA that signed the certificate.
    Ca,
    /// The serial number, in hex.
    Serial,
    /// The fingerprint, in 64 hex digits.
    Sha256,
    /// Any other name: a capture of the rule, or in a header the key of a resource attribute.
    Named(Box<str>),
}

impl Template {
    /// A template that is literal text.
    pub(super) fn plain(text: &str) -> Self {
        Template { segments: vec![Segment::Text(text.into())] }
    }

    /// Parses a template.
    ///
    /// # Errors
    /// It is too long, or a brace has no counterpart.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateError::TooLong);
        }
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at_checked(at).unwrap_or((rest, ""));
            literal.push_str(before);
            if let Some(after) = from_brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = from_brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                let inside = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
                let Some((name, after)) = inside else { return Err(TemplateError::Brace) };
                if name.is_empty() || name.contains('{') {
                    return Err(TemplateError::Brace);
                }
                if !literal.is_empty() {
                    segments.push(Segment::Text(core::mem::take(&mut literal).into()));
                }
                segments.push(Segment::Placeholder(Placeholder::parse(name)));
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Text(literal.into()));
        }
        Ok(Template { segments })
    }

    /// Its segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Placeholder(placeholder) => Some(placeholder),
            Segment::Text(_) => None,
        })
    }

    /// The text, if there is no placeholder.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [] => Some(""),
            [Segment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it consists of this placeholder only.
    pub(super) fn is_just(&self, placeholder: &Placeholder) -> bool {
        matches!(self.segments.as_slice(), [Segment::Placeholder(only)] if only == placeholder)
    }

    /// The text with every placeholder replaced by its value.
    ///
    /// # Errors
    /// The first placeholder that has no value.
    pub(super) fn render<'a>(
        &'a self,
        value_of: impl Fn(&'a Placeholder) -> Option<&'a str>,
    ) -> Result<String, &'a Placeholder> {
        let mut text = String::new();
        for segment in &self.segments {
            text.push_str(match segment {
                Segment::Text(text) => text,
                Segment::Placeholder(placeholder) => value_of(placeholder).ok_or(placeholder)?,
            });
        }
        Ok(text)
    }
}

impl Placeholder {
    /// The placeholders that do not depend on a rule; `subject.CN` stands for all keys of the subject.
    pub(super) const BUILT_IN: [&str; 11] =
        ["name", "spiffe", "dns", "email", "ip", "subject", "subject.CN", "issuer", "ca", "serial", "sha256"];

    /// The placeholder with this name, without braces.
    pub fn parse(name: &str) -> Self {
        match name {
            "name" => Placeholder::Name,
            "spiffe" => Placeholder::Spiffe,
            "dns" => Placeholder::Dns,
            "email" => Placeholder::Email,
            "ip" => Placeholder::Ip,
            "subject" => Placeholder::Subject,
            "issuer" => Placeholder::Issuer,
            "ca" => Placeholder::Ca,
            "serial" => Placeholder::Serial,
            "sha256" => Placeholder::Sha256,
            _ => match name.strip_prefix("subject.") {
                Some(key) => Placeholder::SubjectKey(key.into()),
                None => Placeholder::Named(name.into()),
            },
        }
    }

    /// Its name, without braces.
    pub fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Placeholder::Name => "name",
            Placeholder::Spiffe => "spiffe",
            Placeholder::Dns => "dns",
            Placeholder::Email => "email",
            Placeholder::Ip => "ip",
            Placeholder::Subject => "subject",
            Placeholder::Issuer => "issuer",
            Placeholder::Ca => "ca",
            Placeholder::Serial => "serial",
            Placeholder::Sha256 => "sha256",
            Placeholder::SubjectKey(key) => return Cow::Owned(format!("subject.{key}")),
            Placeholder::Named(name) => name,
        })
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.name())
    }
}

/// Why a text is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateError {
    /// It is longer than 4096 bytes.
    TooLong,
    /// A brace has no counterpart, or there is nothing between braces.
    Brace,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::TooLong => write!(f, "it is longer than {MAX_TEMPLATE} bytes"),
            TemplateError::Brace => f.write_str(
                "a brace has no counterpart, or nothing inside: write `{name}`, or `{{` and `}}` for braces",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(template: &str) -> Result<String, String> {
        let template = Template::parse(template).map_err(|error| format!("{error:?}"))?;
        let value_of = |placeholder: &Placeholder| match placeholder {
            Placeholder::Name => Some("acme"),
            Placeholder::SubjectKey(key) if &**key == "CN" => Some("edge"),
            Placeholder::Named(word) if &**word == "tenant.id" => Some("t"),
            _ => None,
        };
        template.render(value_of).map_err(ToString::to_string)
    }

    #[test]
    fn placeholders_are_filled_in() {
        for (template, expected) in [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("{name}", Ok("acme")),
            ("a-{name}-{subject.CN}-{tenant.id}", Ok("a-acme-edge-t")),
            ("{{name}}", Ok("{name}")),
            ("{{{name}}}", Ok("{acme}")),
            ("{site}", Err("{site}")),
            ("{subject.O}", Err("{subject.O}")),
            ("{spiffe}", Err("{spiffe}")),
            ("{", Err("Brace")),
            ("}", Err("Brace")),
            ("{}", Err("Brace")),
            ("{a{b}", Err("Brace")),
            ("{name", Err("Brace")),
        ] {
            assert_eq!(render(template).as_deref().map_err(String::as_str), expected, "{template}");
        }
    }

    #[test]
    fn built_in_names_are_built_in() {
        for word in Placeholder::BUILT_IN {
            assert!(!matches!(Placeholder::parse(word), Placeholder::Named(_)), "{word}");
            assert_eq!(Placeholder::parse(word).name(), word);
        }
    }

    proptest! {
        #[test]
        fn doubled_braces_give_back_any_text(text in r"[{}a\PC]{0,16}") {
            let template = Template::parse(&text.replace('{', "{{").replace('}', "}}")).unwrap();
            prop_assert_eq!(template.literal(), Some(text.as_str()));
        }

        #[test]
        fn no_text_panics(text in r"[{}a.\PC]{0,16}") {
            let _ = Template::parse(&text);
        }
    }
}
