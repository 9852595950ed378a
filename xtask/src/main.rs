//! `cargo xtask NAME`: the project's recipes.

fn main() {}
