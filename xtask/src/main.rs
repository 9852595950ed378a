//! `cargo xtask NAME`: the project's recipes. A person and CI use the same ones.
//!
//! Data goes to standard output. Progress, errors and the output of other programs go to standard error.

#![allow(clippy::disallowed_methods, reason = "recipes run on the host, where there is a clock")]

mod advisories;
mod bench;
mod cluster;
mod debian;
mod demo;
mod dist;
mod e2e;
mod fuzz;
mod instructions;
mod native;
mod process;
mod project;
mod publish;
mod pytest;
mod reproducible;
mod setup;
mod test;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's recipes
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    recipe: Recipe,
    /// Install missing Debian packages (default: report the command that installs them)
    #[arg(long, global = true)]
    install: bool,
}

#[derive(Subcommand)]
enum Recipe {
    /// Build the filter into target/otlp-gate.wasm, check its imports and print its size
    BuildWasm,
    /// Build the filter as a dynamic module into target/libotlp_gate.so
    BuildNative,
    /// Install what the other recipes need beside Rust into the cache
    Setup,
    /// Run `otlp-gate demo` on this machine, with everything that it needs
    Demo {
        /// Print one JSON object on one line
        #[arg(long)]
        json: bool,
        /// Keep it running, and print how to send to it
        #[arg(long)]
        keep: bool,
    },
    /// Measure the cost of the filter in Envoy, compared with no filter and with simpler ones
    Bench(bench::Args),
    /// Build the files of a release: static binaries, the module, images, a bill of materials, checksums
    Dist(dist::Args),
    /// Package the crates for crates.io and compile the packages; --execute uploads them
    Publish(publish::Args),
    /// Fuzz what reads bytes from outside, with libFuzzer and a nightly compiler
    Fuzz(fuzz::Args),
    /// Check the dependencies for known vulnerabilities
    Advisories,
    /// Count the instructions of the code that runs for every request, and compare with bench/instructions.txt
    Instructions {
        /// Write bench/instructions.txt instead
        #[arg(long)]
        bless: bool,
    },
    /// Start, stop and inspect a Kubernetes cluster on this machine, for tests
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Run the tests in tests/cluster, on a cluster of yours or on one that is started for them
    E2e(e2e::Args),
    /// Run the checks of CI: format, lints, unit tests, integration tests with Envoy, tests in clusters
    Test(test::Args),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.install {
        debian::allow_installation();
    }
    let done = match arguments.recipe {
        Recipe::BuildWasm => wasm::recipe(),
        Recipe::BuildNative => native::recipe(),
        Recipe::Setup => setup::recipe(),
        Recipe::Demo { json, keep } => demo::recipe(json, keep),
        Recipe::Bench(args) => bench::recipe(&args),
        Recipe::Dist(args) => dist::recipe(&args),
        Recipe::Publish(args) => publish::recipe(&args),
        Recipe::Fuzz(args) => fuzz::recipe(&args),
        Recipe::Advisories => advisories::recipe(),
        Recipe::Instructions { bless } => instructions::recipe(bless),
        Recipe::Cluster(action) => cluster::recipe(&action),
        Recipe::E2e(args) => e2e::recipe(&args),
        Recipe::Test(args) => test::recipe(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
