//! The `otlp-gate` command.

fn main() {}
