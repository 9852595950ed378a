//! A `#[test]` for wasm32, where the compiler's own has nothing to run it: core takes it in with `#[macro_use]`, and so
//! none of its tests has to know.

pub use wasm_bindgen_test::wasm_bindgen_test as test;
