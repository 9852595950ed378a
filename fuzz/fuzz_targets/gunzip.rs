//! Nothing inflates beyond the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_wire::encoding::{frame, gunzip};

fuzz_target!(|wire: &[u8]| {
    let _ = frame(wire);
    if let Ok(out) = gunzip(wire, 1 << 16) {
        assert!(out.len() <= 1 << 16);
    }
});
