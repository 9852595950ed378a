//! Nothing inflates beyond the limit.

use otlp_gate_wire::encoding::{frame, gunzip, unzlib};

/// Takes one input.
pub fn target(wire: &[u8]) {
    let _ = frame(wire);
    for inflated in [gunzip(wire, 1 << 16), unzlib(wire, 1 << 16)] {
        if let Ok(out) = inflated {
            assert!(out.len() <= 1 << 16);
        }
    }
}
