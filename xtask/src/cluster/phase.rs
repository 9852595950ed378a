//! Progress on standard error: one line for each phase.

use std::io::{self, IsTerminal};
use std::time::Instant;

/// A phase that is running.
pub(super) struct Phase {
    name: &'static str,
    start: Instant,
}

impl Phase {
    /// Prints the name of the phase. On a terminal, `done` completes the line.
    pub(super) fn start(name: &'static str) -> Self {
        if io::stderr().is_terminal() {
            eprint!("  {name:<30}");
        }
        Self { name, start: Instant::now() }
    }

    /// Prints the time that the phase took.
    pub(super) fn done(self) {
        let seconds = self.start.elapsed().as_secs_f64();
        if io::stderr().is_terminal() {
            eprintln!("{seconds:>6.1} s");
        } else {
            eprintln!("  {:<30}{seconds:>6.1} s", self.name);
        }
    }
}
