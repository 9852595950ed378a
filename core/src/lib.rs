//! The logic of otlp-gate, without a proxy: who a client is ([`identity`], [`policy`]), what its telemetry is
//! stamped with ([`gate`]), what it may send ([`quota`]), and how it is refused.
//!
//! **Architecture Invariant:** nothing here does I/O, reads a clock, or knows a proxy or Kubernetes. Time, stored
//! bytes and headers come in as arguments, so all of it is tested on the host and runs unchanged in the module.

// On wasm32 every `#[test]` is one of wasm-bindgen-test.
#[cfg(all(test, target_arch = "wasm32"))]
#[macro_use]
extern crate otlp_gate_wasm_test;

pub mod clock_cache;
pub mod config;
pub mod gate;
pub mod identity;
pub mod policy;
pub mod quota;
pub mod response;
mod sort;
pub mod time;
