//! One line per phase on stderr.

use std::time::Instant;

/// A phase under way.
pub(super) struct Phase {
    name: &'static str,
    start: Instant,
}

impl Phase {
    pub(super) fn start(name: &'static str) -> Self {
        Self { name, start: Instant::now() }
    }

    /// Says how long it took.
    pub(super) fn done(self) {
        eprintln!("{:<14}{:>5.1} s", self.name, self.start.elapsed().as_secs_f64());
    }
}
