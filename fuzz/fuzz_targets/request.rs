#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_fuzz::request::target;

fuzz_target!(|input: (u8, u8, Vec<&[u8]>, &[u8], u64)| target(input));
