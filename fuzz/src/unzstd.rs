//! Target: zstd never inflates beyond the limit.

use otlp_gate_wire::encoding::Compression;

/// Runs one input.
pub fn target(body: &[u8]) {
    if let Ok(out) = Compression::Zstd.inflate(body, 1 << 16) {
        assert!(out.len() <= 1 << 16);
    }
}
