//! Any configuration is loaded or refused with words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use otlp_gate_core::gate::Gate;

fuzz_target!(|configuration: &[u8]| {
    if let Err(mistakes) = Gate::load(configuration) {
        assert!(!mistakes.is_empty());
    }
});
