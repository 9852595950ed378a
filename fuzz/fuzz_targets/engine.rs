#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_fuzz::engine::target;

fuzz_target!(|input: &[u8]| target(input));
