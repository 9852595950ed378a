//! The bytes of a request: gRPC frames and compression ([`encoding`]), and OTLP messages, in which the filter sets a
//! client's resource attributes ([`otlp`]).
//!
//! A splice replaces the owned attributes in every Resource of an export request by those of the client, and counts
//! items. Everything else in the message stays byte for byte:
//!
//! ```
//! use std::rc::Rc;
//!
//! use otlp_gate_wire::otlp::{Owned, ResourceAttributes, Signal, splice_json};
//!
//! // Only the filter may set `tenant.id`, and any key that backends turn into it, such as `Tenant-ID`.
//! let owned = Rc::new(Owned::new(["tenant.id"], true));
//! let attributes = ResourceAttributes::new(&owned, [("tenant.id", "acme")]);
//!
//! let request = br#"{"resourceSpans":[{
//!     "resource":{"attributes":[{"key":"Tenant-ID","value":{"stringValue":"forged"}}]},
//!     "scopeSpans":[{"spans":[{"name":"GET /"}]}]}]}"#;
//! let splice = splice_json(Signal::Traces, request, &attributes, 1 << 20)?;
//! assert_eq!((splice.items, splice.removed), (1, 1));
//!
//! let forwarded: Vec<u8> = splice.pieces(request).flatten().copied().collect();
//! let want = br#"{"resourceSpans":[{
//!     "resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"acme"}}]},
//!     "scopeSpans":[{"spans":[{"name":"GET /"}]}]}]}"#;
//! assert_eq!(forwarded, want);
//! # Ok::<(), otlp_gate_wire::otlp::SpliceError>(())
//! ```
//!
//! **Architecture Invariant:** nothing here depends on clients, policies or quotas. This code runs for every byte, so
//! it is a package of its own: the module builds it for speed and the rest for size.

// On wasm32 every `#[test]` is one of wasm-bindgen-test.
#[cfg(all(test, target_arch = "wasm32"))]
#[macro_use]
extern crate otlp_gate_wasm_test;

pub mod encoding;
pub mod otlp;
