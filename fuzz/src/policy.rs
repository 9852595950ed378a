//! Target: any configuration is loaded or rejected with a message.

use otlp_gate_core::gate::Gate;

/// Runs one input.
pub fn target(configuration: &[u8]) {
    if let Err(mistakes) = Gate::load(configuration) {
        assert!(!mistakes.is_empty());
    }
}
