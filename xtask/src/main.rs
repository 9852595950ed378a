//! `cargo xtask NAME`: the project's recipes, the same for a person and for CI.
//!
//! Data goes to stdout, talk to stderr; what child processes print goes to stderr as well.

#![allow(clippy::disallowed_methods, reason = "recipes run on the host, where there is a clock")]

mod bench;
mod cluster;
mod debian;
mod demo;
mod e2e;
mod instructions;
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
    /// Show the whole road on this machine: set everything up, then run `otlp-gate demo`
    Demo {
        /// Print one JSON object on one line
        #[arg(long)]
        json: bool,
        /// Leave it running and print how to send to it
        #[arg(long)]
        keep: bool,
    },
    /// Measure what the filter costs Envoy, beside no filter, one that does nothing and one that copies
    Bench {
        /// Print one JSON object on one line
        #[arg(long)]
        json: bool,
        /// Fewer requests and rounds
        #[arg(long)]
        quick: bool,
        /// Measure this part alone: the clients of a trusted hop
        #[arg(long, value_name = "PART", value_parser = ["hop"], conflicts_with = "node_local")]
        only: Option<String>,
        /// Measure the gateway on a node instead, on a real cluster
        #[arg(long)]
        node_local: bool,
    },
    /// Count the instructions of what runs for every request, and compare with bench/instructions.txt
    Instructions {
        /// Write the table instead
        #[arg(long)]
        bless: bool,
    },
    /// A real Kubernetes with a real gateway on this machine, for tests
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Test the whole road on a real cluster that is started for it
    E2e(e2e::Args),
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
        Recipe::Demo { json, keep } => demo::recipe(json, keep),
        Recipe::Bench { json, quick, node_local: true, .. } => bench::node_local(json, quick),
        Recipe::Bench { json, quick, only, node_local: false } => bench::recipe(json, quick, only.as_deref()),
        Recipe::Instructions { bless } => instructions::recipe(bless),
        Recipe::Cluster(action) => cluster::recipe(&action),
        Recipe::E2e(args) => e2e::recipe(&args),
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
