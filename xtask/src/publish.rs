//! `cargo xtask publish`: the crates for crates.io. The command's package contains the built module, so that
//! `cargo install otlp-gate` needs no compiler for wasm32.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use crate::{process, project, wasm};

/// The crates that the command consists of, each after those that it depends on.
const CRATES: [&str; 4] = ["otlp-gate-wire", "otlp-gate-core", "otlp-gate-oci", "otlp-gate"];
/// Where the command's package has the module.
const MODULE: &str = "otlp-gate.wasm";

/// Whether to publish.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Upload the packages, with the token of `cargo login`
    #[arg(long)]
    execute: bool,
}

/// Packages the crates and compiles the packages; with `--execute`, uploads them.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    let mut arguments = vec!["publish"];
    if !args.execute {
        arguments.push("--dry-run");
    }
    cargo(&arguments)
}

/// Packages the crates without compiling them, and checks that the command's contains the module.
pub(crate) fn package() -> Result<()> {
    cargo(&["package", "--no-verify", "--allow-dirty"])?;
    let folder = project::target_dir()?.join("package");
    let package = folder.join(format!("otlp-gate-{}.crate", env!("CARGO_PKG_VERSION")));
    let mut files = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(File::open(&package)?)).entries()? {
        let path = entry?.path()?.into_owned();
        files.push(path.components().skip(1).collect::<PathBuf>());
    }
    for file in [MODULE, "README.md", "build.rs", "src/main.rs", "src/commands/init.yaml"] {
        ensure!(files.contains(&PathBuf::from(file)), "{} has no {file}", package.display());
    }
    Ok(())
}

/// Runs cargo on all crates, with the module in the command's folder.
fn cargo(arguments: &[&str]) -> Result<()> {
    let module = wasm::filter()?;
    let placed = project::root().join("deployer").join(MODULE);
    fs::copy(&module, &placed).with_context(|| format!("writing {}", placed.display()))?;
    let mut cargo = project::cargo();
    cargo.args(arguments);
    for name in CRATES {
        cargo.args(["--package", name]);
    }
    let done = process::run(&mut cargo);
    fs::remove_file(placed)?;
    done
}
