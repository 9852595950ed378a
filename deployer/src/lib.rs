//! The library behind the `otlp-gate` command.

pub mod module;
