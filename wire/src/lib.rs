//! The bytes of a request: gRPC frames, gzip, zlib and zstd ([`encoding`]), and the splice that stamps OTLP messages ([`otlp`]).
//!
//! **Architecture Invariant:** nothing here knows clients, policies or quotas. This is what runs for every byte, so it is a
//! package of its own: the module builds it for speed and the rest for size.

// On wasm32 every `#[test]` is one of wasm-bindgen-test.
#[cfg(all(test, target_arch = "wasm32"))]
#[macro_use]
extern crate otlp_gate_wasm_test;

pub mod encoding;
pub mod otlp;
