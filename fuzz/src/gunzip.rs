//! Nothing inflates beyond the limit.

use otlp_gate_wire::encoding::{frame, gunzip};

/// Takes one input.
pub fn target(wire: &[u8]) {
    let _ = frame(wire);
    if let Ok(out) = gunzip(wire, 1 << 16) {
        assert!(out.len() <= 1 << 16);
    }
}
