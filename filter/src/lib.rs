//! The proxy-wasm adapter: it moves bytes between Envoy and core and decides nothing.
