//! Nothing of zstd inflates beyond the limit.

use otlp_gate_wire::encoding::Compression;

/// Takes one input.
pub fn target(wire: &[u8]) {
    if let Ok(out) = Compression::Zstd.inflate(wire, 1 << 16) {
        assert!(out.len() <= 1 << 16);
    }
}
