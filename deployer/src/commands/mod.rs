//! The commands, one per file: they parse their arguments, call the library, and print.

mod apply;
mod certs;
mod check;
mod client_config;
mod completions;
mod delete;
mod demo;
mod diff;
mod doctor;
mod init;
mod local;
mod man;
mod render;
mod schema;
mod status;
mod top;
mod verify;
mod wasm;
mod whoami;

use clap::Subcommand;

use crate::error::Error;
use crate::global::Global;

/// The commands of `otlp-gate`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented otlp-gate.yaml to start from
    Init(init::Args),
    /// Check the configuration
    Check(check::Args),
    /// Print the JSON Schema of the configuration
    Schema(schema::Args),
    /// Show which client a certificate identifies, and its attributes and quota
    Whoami(whoami::Args),
    /// Create, list, renew and revoke the certificates of the gate and its clients
    #[command(subcommand)]
    Certs(certs::Certs),
    /// Print or write all Kubernetes manifests
    Render(render::Args),
    /// Check whether the cluster has what the gate needs
    Doctor(doctor::Args),
    /// Show what `apply` would change in the cluster
    Diff(diff::Args),
    /// Install or update the gate in the cluster, and wait until it is ready
    Apply(apply::Args),
    /// Show whether the gate in the cluster is ready, and what else attaches to its gateway
    Status(status::Args),
    /// Show what each client sends, live: rates, results and how much of its quota it uses
    Top(top::Args),
    /// Delete the gate from the cluster
    Delete(delete::Args),
    /// Print the configuration with which a client sends through the gate
    ClientConfig(client_config::Args),
    /// Test that the gate rejects invalid clients and accepts a valid one
    Verify(verify::Args),
    /// Run the gate on this machine in a local Envoy, without Kubernetes
    Local(local::Args),
    /// Show the gate at work on this machine, with example clients
    Demo(demo::Args),
    /// Export the filter's module, or push it to a registry
    #[command(subcommand)]
    Wasm(wasm::Wasm),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write the manual pages to a folder
    Man(man::Args),
}

/// Runs a command. `cli` gives the whole command line, which `completions` and `man` describe.
pub(crate) fn run(command: &Command, global: &Global, cli: fn() -> clap::Command) -> Result<(), Error> {
    match command {
        Command::Init(args) => init::run(args, global),
        Command::Check(args) => check::run(args, global),
        Command::Schema(_) => schema::run(),
        Command::Whoami(args) => whoami::run(args, global),
        Command::Certs(command) => certs::run(command, global),
        Command::Render(args) => render::run(args, global),
        Command::Doctor(args) => doctor::run(args, global),
        Command::Diff(args) => diff::run(args, global),
        Command::Apply(args) => apply::run(args, global),
        Command::Status(args) => status::run(args, global),
        Command::Top(args) => top::run(args, global),
        Command::Delete(args) => delete::run(args, global),
        Command::ClientConfig(args) => client_config::run(args, global),
        Command::Verify(args) => verify::run(args, global),
        Command::Local(args) => local::run(args, global),
        Command::Demo(args) => demo::run(args, global),
        Command::Wasm(command) => wasm::run(command, global),
        Command::Completions(args) => completions::run(args, &mut cli()),
        Command::Man(args) => man::run(args, cli()),
    }
}
