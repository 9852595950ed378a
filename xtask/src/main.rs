//! `cargo xtask NAME`: the project's recipes, the same for a person and for CI.
//!
//! Data goes to stdout, talk to stderr; what child processes print goes to stderr as well.

#![allow(clippy::disallowed_methods, reason = "recipes run on the host, where there is a clock")]

mod debian;
mod process;
mod project;
mod setup;
mod test;
mod wasm;

use std::process::ExitCode;

use clap::Parser;

/// The project's recipes.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Recipe {
    /// Build the filter into target/otlp-gate.wasm, check what it imports and print its size
    BuildWasm,
    /// Install what the other recipes need beside Rust, once, into the cache
    Setup,
    /// Run every check: format, lints, unit tests on the host and on wasm32, integration tests against a real Envoy
    Test {
        /// Run only this step
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
}

fn main() -> ExitCode {
    let done = match Recipe::parse() {
        Recipe::BuildWasm => wasm::recipe(),
        Recipe::Setup => setup::recipe(),
        Recipe::Test { only } => test::recipe(only.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
