//! The logic of otlp-gate, without a proxy: which client a request comes from ([`identity`], [`policy`]), which
//! attributes and headers are set ([`gate`]), what the client may send ([`quota`]), and how a request is rejected
//! ([`response`]).
//!
//! ```
//! use otlp_gate_core::gate::Gate;
//! use otlp_gate_core::identity::Identity;
//! use otlp_gate_core::response::Reason;
//!
//! let policy = br#"{"clients": [{
//!     "name": "{site}.acme",
//!     "match": {"spiffe": "spiffe://acme.example/edge/{site}"},
//!     "attributes": {"tenant.id": "acme"}
//! }]}"#;
//! let gate = Gate::load(policy)?;
//!
//! // What is read of the certificate of a connection.
//! let uri = |uri: &str| Identity::from_texts(&[uri], &[], None, Some([0; 32]));
//! let client = gate.client(&uri("spiffe://acme.example/edge/berlin"));
//! assert_eq!(client.map(|client| client.name().to_owned()), Ok("berlin.acme".to_owned()));
//! let unknown = gate.client(&uri("spiffe://evil.example"));
//! assert_eq!(unknown.err(), Some(Reason::UnknownClient));
//! # Ok::<(), String>(())
//! ```
//!
//! **Architecture Invariant:** nothing here does I/O, reads a clock, or knows Kubernetes. Time, stored bytes and
//! headers are arguments, and a request asks the proxy through the trait [`gate::Host`]. So all of it is tested on the
//! host, and runs unchanged in the module.

#![forbid(unsafe_code)]

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
