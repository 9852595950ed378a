//! The library behind the `otlp-gate` command.

pub mod address;
mod args;
pub mod certs;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
mod demo;
mod doctor;
mod envoy;
pub mod error;
mod explanation;
pub mod file;
pub mod global;
mod local;
mod model;
mod module;
pub mod output;
mod probe;
mod providers;
mod quantity;
pub mod random;
#[cfg(test)]
mod reference;
mod render;
mod resources;
mod runtime;
pub mod sha256;
mod verify;
pub mod x509;

pub use cli::Cli;
