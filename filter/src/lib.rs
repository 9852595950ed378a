//! The proxy-wasm adapter of `otlp-gate-core`: the proxy's callbacks, the calls into the proxy, and where a body is
//! allocated.
//!
//! **Architecture Invariant:** no logic lives here. What a request means, and what is asked of the proxy when, is
//! decided in `otlp_gate_core::gate`, which is tested without a proxy.

mod body_alloc;
mod callbacks;
mod host;
