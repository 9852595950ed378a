//! Any configuration is loaded or refused with words.

use otlp_gate_core::gate::Gate;

/// Takes one input.
pub fn target(configuration: &[u8]) {
    if let Err(mistakes) = Gate::load(configuration) {
        assert!(!mistakes.is_empty());
    }
}
