//! `cargo xtask build-wasm`: the filter as a module for Envoy. Builds are reproducible.

mod debian;
mod module;
mod optimizer;
mod toolchain;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

pub(crate) use toolchain::{TARGET, Toolchain};

use crate::{process, project};

/// WebAssembly features that current proxies support. Bulk memory makes a copy one instruction. SIMD makes
/// decompression a third faster, and the scan of JSON reads sixteen bytes at once.
pub(crate) const FEATURES: &str = "-Ctarget-feature=+simd128,+bulk-memory";

/// Builds the filter into `<target>/otlp-gate.wasm` and prints that path.
pub(crate) fn recipe() -> Result<()> {
    println!("{}", filter()?.display());
    Ok(())
}

/// Builds the filter into `<target>/otlp-gate.wasm`, from where `otlp-gate` embeds it, and returns the path.
pub(crate) fn filter() -> Result<PathBuf> {
    let built = optimizer::optimize(&build("otlp-gate-filter")?)?;
    let module = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    module::check(&module)?;
    eprintln!("otlp-gate.wasm: {}", module::Size::of(&module)?);
    let placed = project::target_dir()?.join("otlp-gate.wasm");
    // Not written if nothing changed, so that `otlp-gate` is not built again.
    if fs::read(&placed).ok().as_ref() != Some(&module) {
        fs::write(&placed, &module).with_context(|| format!("writing {}", placed.display()))?;
    }
    Ok(placed)
}

/// Builds a package of the workspace as a module and returns cargo's output file.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let target_dir = toolchain.target_dir()?;
    process::run(
        toolchain
            .cargo("build")?
            .args(["--package", package, "--profile", "wasm", "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", toolchain.rustflags(&[FEATURES])?),
    )?;
    let file = format!("{}.wasm", package.replace('-', "_"));
    Ok(target_dir.join(TARGET).join("wasm").join(file))
}
