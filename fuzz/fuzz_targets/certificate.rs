#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_fuzz::certificate::target;

fuzz_target!(|der: &[u8]| target(der));
