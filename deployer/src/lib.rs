//! The library behind the `otlp-gate` command.

pub mod address;
pub mod certs;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod envoy;
pub mod error;
pub mod file;
pub mod global;
pub mod image;
pub mod local;
pub mod module;
pub mod output;
pub mod probe;
pub mod providers;
pub mod random;
pub mod resources;
pub mod sha256;
pub mod verify;
pub mod x509;

pub use cli::Cli;
