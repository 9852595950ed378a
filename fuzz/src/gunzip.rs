//! Nothing inflates beyond the limit.

use otlp_gate_wire::encoding::{Compression, frame};

/// Takes one input.
pub fn target(wire: &[u8]) {
    let _ = frame(wire);
    for compression in [Compression::Gzip, Compression::Zlib] {
        if let Ok(out) = compression.inflate(wire, 1 << 16) {
            assert!(out.len() <= 1 << 16);
        }
    }
}
