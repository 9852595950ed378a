//! Problems of a policy, and their places in the config.

use core::fmt;

use crate::config::{Matches, PolicyConfig};

/// An error or a warning about one place in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place.
    pub path: ConfigPath,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(path: impl Into<ConfigPath>, message: impl Into<String>) -> Self {
        Problem { path: path.into(), message: message.into(), hint: None }
    }

    /// The problem with a hint. Without the feature `hints` it stays without one: the filter logs messages only.
    #[inline]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_with(|| Some(hint.into()))
    }

    /// The same for a hint that has to be computed.
    #[inline]
    pub(super) fn hint_with(mut self, hint: impl FnOnce() -> Option<String>) -> Self {
        if cfg!(any(test, feature = "hints")) {
            self.hint = hint();
        }
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

/// A place in a config, from its root: `clients[3].match.spiffe`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigPath(pub Vec<PathStep>);

/// One step of a [`ConfigPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// Into the map's value under this key.
    Key(String),
    /// Into the list's item of this index, from 0.
    Index(usize),
}

impl ConfigPath {
    /// A key at the root.
    pub fn of(key: &str) -> Self {
        ConfigPath::default().key(key)
    }

    pub(super) fn client(rule: usize) -> Self {
        ConfigPath::of("clients").index(rule)
    }

    /// A rule's match: `clients[3].match`, or `clients[3].match[1]` where it is a list.
    pub(super) fn of_match(config: &PolicyConfig, rule: usize, number: usize) -> Self {
        let path = ConfigPath::client(rule).key("match");
        match config.clients.get(rule).map(|client| &client.matches) {
            Some(Matches::Any(_)) => path.index(number),
            _ => path,
        }
    }

    /// The first index on the path.
    pub(super) fn first_index(&self) -> Option<usize> {
        self.0.iter().find_map(|step| match step {
            PathStep::Index(index) => Some(*index),
            PathStep::Key(_) => None,
        })
    }

    /// A key of the map at this path.
    pub fn key(&self, key: &str) -> Self {
        self.with(PathStep::Key(key.to_owned()))
    }

    /// An item of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        self.with(PathStep::Index(index))
    }

    fn with(&self, step: PathStep) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        ConfigPath(steps)
    }
}

/// A [`ConfigPath`] that borrows its steps, for code that visits a config. It becomes a `ConfigPath` only where there
/// is a problem: most of ten thousand clients have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathRef<'a> {
    parent: Option<&'a PathRef<'a>>,
    step: StepRef<'a>,
}

#[derive(Debug, Clone, Copy)]
enum StepRef<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> PathRef<'a> {
    pub(super) fn of(key: &'a str) -> Self {
        PathRef { parent: None, step: StepRef::Key(key) }
    }

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        PathRef { parent: Some(self), step: StepRef::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        PathRef { parent: Some(self), step: StepRef::Index(index) }
    }
}

impl From<PathRef<'_>> for ConfigPath {
    fn from(path: PathRef<'_>) -> ConfigPath {
        ConfigPath::from(&path)
    }
}

impl From<&PathRef<'_>> for ConfigPath {
    fn from(path: &PathRef<'_>) -> ConfigPath {
        let parent = path.parent.map(ConfigPath::from).unwrap_or_default();
        match path.step {
            StepRef::Key(key) => parent.key(key),
            StepRef::Index(index) => parent.index(index),
        }
    }
}

/// `clients[3].match.spiffe`. A key with other characters than letters, digits, `_` and `-` is quoted:
/// `attributes["tenant.id"]`.
impl fmt::Display for ConfigPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Key(key) if key.is_empty() || !key.chars().all(is_plain) => write!(f, "[{key:?}]")?,
                PathStep::Key(key) if at == 0 => f.write_str(key)?,
                PathStep::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_config() {
        let path = ConfigPath::client(3).key("match").index(0).key("subject").key("2.5.4.3");
        assert_eq!(path.to_string(), r#"clients[3].match[0].subject["2.5.4.3"]"#);
        assert_eq!(ConfigPath::of("attributes").key("").to_string(), r#"attributes[""]"#);
    }

    #[test]
    fn a_problem_is_one_line() {
        let problem = Problem::new(ConfigPath::client(0).key("name"), "it is empty").hint("give it one");
        assert_eq!(problem.to_string(), "clients[0].name: it is empty (hint: give it one)");
    }
}
