//! The library behind the `otlp-gate` command.

pub mod cli;
pub mod commands;
pub mod error;
pub mod module;
pub mod output;
