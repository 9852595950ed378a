//! Counts the work of an identification, for tests: look-ups in indexes, and values that are compared with patterns.

use std::cell::Cell;

thread_local! {
    static LOOKUPS: Cell<usize> = const { Cell::new(0) };
    static COMPARISONS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn lookup() {
    LOOKUPS.set(LOOKUPS.get() + 1);
}

pub(super) fn comparison() {
    COMPARISONS.set(COMPARISONS.get() + 1);
}

/// Runs `work`, and gives the look-ups and comparisons that it made.
pub(super) fn counted(work: impl FnOnce()) -> (usize, usize) {
    let before = (LOOKUPS.get(), COMPARISONS.get());
    work();
    (LOOKUPS.get() - before.0, COMPARISONS.get() - before.1)
}
