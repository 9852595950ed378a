//! Target: gzip and zlib never inflate beyond the limit.

use otlp_gate_wire::encoding::{Compression, frame};

/// Runs one input.
pub fn target(body: &[u8]) {
    let _ = frame(body);
    for compression in [Compression::Gzip, Compression::Zlib] {
        if let Ok(out) = compression.inflate(body, 1 << 16) {
            assert!(out.len() <= 1 << 16);
        }
    }
}
