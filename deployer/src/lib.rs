//! The `otlp-gate` command as a library: [`Cli`] is all that its `main` needs.
//!
//! ```
//! use clap::Parser as _;
//! use otlp_gate::Cli;
//!
//! let cli = Cli::try_parse_from(["otlp-gate", "schema"])?;
//! cli.run(); // prints the JSON Schema of the configuration
//! # Ok::<(), clap::Error>(())
//! ```

mod address;
mod args;
mod certs;
mod cli;
mod client_config;
mod cluster;
mod commands;
mod config;
mod demo;
mod doctor;
mod envoy;
mod error;
mod explanation;
mod file;
mod global;
mod local;
mod model;
mod module;
mod monitoring;
mod otelcol;
mod output;
mod probe;
mod providers;
mod quantity;
mod random;
#[cfg(test)]
mod reference;
mod render;
mod resources;
mod runtime;
mod sha256;
mod top;
mod verify;
mod x509;

pub use cli::Cli;
