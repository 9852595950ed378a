//! A `#[test]` for wasm32, where the compiler's own has no runner. Core and wire import it with `#[macro_use]`, so
//! their tests are the same on all targets.

pub use wasm_bindgen_test::wasm_bindgen_test as test;
