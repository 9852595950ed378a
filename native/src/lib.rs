//! The filter as a dynamic module of Envoy: Envoy's hooks, the calls into Envoy, and what the process shares.
//!
//! **Architecture Invariant:** no logic lives here. What a request means, and what is asked of the proxy when, is
//! decided in `otlp_gate_core::gate`, as for the proxy-wasm filter.
//!
//! **Architecture Invariant:** no panic leaves a hook. A panic rejects the request in whose hook it happens.

mod abi;
#[cfg(test)]
mod fake_envoy;
mod hooks;
mod host;
mod metrics;
mod store;
#[cfg(test)]
mod tests;

/// The version, as the command finds it in the file (deployer/src/module/native.rs).
#[used]
static VERSION: &str = concat!("otlp-gate native module ", env!("CARGO_PKG_VERSION"), "\0");
