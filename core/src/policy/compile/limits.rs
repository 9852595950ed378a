//! Checks of the bounds on messages.

use super::super::problem::{PathRef, Problem};
use crate::config::Limits;

/// A module has 4 GiB of memory at most, and Envoy's workers share the machine's.
const MAX_SIZE: u64 = 1 << 30;

pub(super) fn check(limits: &Limits, problems: &mut Vec<Problem>) {
    let path = PathRef::of("limits");
    for (key, size) in [
        ("wire", limits.wire),
        ("inflated", limits.inflated),
        ("held", limits.held),
        ("headers", limits.headers),
    ] {
        if size.bytes() == 0 || size.bytes() > MAX_SIZE {
            problems.push(Problem::new(path.key(key), format!("{size} is not between 1 byte and 1GiB")));
        }
    }
    if limits.ratio == Some(0) {
        problems.push(Problem::new(path.key("ratio"), "a ratio of 0 lets no compressed message through"));
    }
    if limits.wire.bytes() >= limits.held.bytes() {
        let message =
            format!("a body of {} never fits into the {} that a worker holds", limits.wire, limits.held);
        problems.push(Problem::new(path.key("wire"), message).hint("raise limits.held or lower this"));
    }
}
