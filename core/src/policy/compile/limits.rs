//! Checks the limits on messages.

use super::super::problem::{PathRef, Problem};
use crate::config::Limits;

/// The largest limit, in bytes. A wasm module has at most 4 GiB of memory, and each worker of Envoy has one.
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
            problems.push(Problem::new(path.key(key), format!("{size} is out of range: use 1 byte to 1GiB")));
        }
    }
    if limits.ratio == Some(0) {
        problems.push(Problem::new(path.key("ratio"), "a ratio of 0 rejects every compressed message"));
    }
    if limits.wire.bytes() >= limits.held.bytes() {
        let message = format!("a body of {} does not fit into `limits.held`, {}", limits.wire, limits.held);
        problems.push(Problem::new(path.key("wire"), message).hint("raise `limits.held`, or lower this"));
    }
}
