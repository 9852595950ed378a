//! What is wrong with a policy, and where.

use core::fmt;

use crate::config::{Matches, PolicyConfig};

/// One mistake in a policy, or one thing that it should rather not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place in the config.
    pub path: Path,
    /// What was read there and what was expected: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(path: impl Into<Path>, message: impl Into<String>) -> Self {
        Problem { path: path.into(), message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Problem {}

/// A place in the config, from the top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Segment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into a map.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl Path {
    pub(super) fn of(key: &str) -> Self {
        Path::default().key(key)
    }

    pub(super) fn client(rule: usize) -> Self {
        Path::of("clients").index(rule)
    }

    /// A rule's match: `clients[3].match`, or `clients[3].match[1]` where it is a list.
    pub(super) fn of_match(config: &PolicyConfig, rule: usize, number: usize) -> Self {
        let path = Path::client(rule).key("match");
        match config.clients.get(rule).map(|client| &client.matches) {
            Some(Matches::Any(_)) => path.index(number),
            _ => path,
        }
    }

    /// The first list index on the way.
    pub(super) fn first_index(&self) -> Option<usize> {
        self.0.iter().find_map(|segment| match segment {
            Segment::Index(index) => Some(*index),
            Segment::Key(_) => None,
        })
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Path(segments)
    }
}

/// A place while it is being looked at. It becomes a [`Path`] only where there is a problem, since most of ten thousand
/// clients have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(super) fn of(key: &'a str) -> Self {
        Place { parent: None, step: Step::Key(key) }
    }

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Place { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Place { parent: Some(self), step: Step::Index(index) }
    }
}

impl From<Place<'_>> for Path {
    fn from(place: Place<'_>) -> Path {
        Path::from(&place)
    }
}

impl From<&Place<'_>> for Path {
    fn from(place: &Place<'_>) -> Path {
        let parent = place.parent.map(Path::from).unwrap_or_default();
        match place.step {
            Step::Key(key) => parent.key(key),
            Step::Index(index) => parent.index(index),
        }
    }
}

/// `clients[3].match.spiffe`; a key that is no plain word is quoted: `attributes["tenant.id"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if key.is_empty() || !key.chars().all(is_word) => write!(f, "[{key:?}]")?,
                Segment::Key(key) if at == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_config() {
        let path = Path::client(3).key("match").index(0).key("subject").key("2.5.4.3");
        assert_eq!(path.to_string(), r#"clients[3].match[0].subject["2.5.4.3"]"#);
        assert_eq!(Path::of("attributes").key("").to_string(), r#"attributes[""]"#);
    }

    #[test]
    fn a_problem_is_one_line() {
        let problem = Problem::new(Path::client(0).key("name"), "it is empty").hint("give it one");
        assert_eq!(problem.to_string(), "clients[0].name: it is empty (hint: give it one)");
    }
}
