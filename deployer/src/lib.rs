//! The library behind the `otlp-gate` command.

pub mod address;
pub mod certs;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
mod demo;
pub mod doctor;
mod envoy;
pub mod error;
mod explanation;
pub mod file;
pub mod global;
pub mod image;
mod local;
pub mod module;
pub mod output;
mod probe;
pub mod providers;
pub mod random;
#[cfg(test)]
mod reference;
pub mod resources;
pub mod sha256;
mod verify;
pub mod x509;

pub use cli::Cli;
