//! Unit and property tests, on the host and on wasm32, and the fuzz targets' promises.

use std::fs;

use anyhow::{Context, Result};

use super::Outcome;
use crate::wasm::Toolchain;
use crate::{debian, instructions, process, project, setup};

pub(super) fn host() -> Result<Outcome> {
    process::run(project::cargo().arg("test"))?;
    Ok(Outcome::Passed)
}

/// What the fuzz targets do, for some seconds and without a fuzzer, which needs a nightly compiler; and whether they compile, which
/// does not. They are a workspace of their own; what both build is built once.
pub(super) fn fuzz() -> Result<Outcome> {
    let target = project::target_dir()?;
    let cargo = |words: &[&str]| {
        let mut cargo = project::cargo();
        cargo.current_dir(project::root().join("fuzz")).args(words).arg("--no-default-features");
        process::run(cargo.arg("--target-dir").arg(&target))
    };
    cargo(&["check", "--bins", "--features", "targets"])?;
    cargo(&["test"])?;
    Ok(Outcome::Passed)
}

/// What runs for every request takes no more instructions than it did.
pub(super) fn instructions() -> Result<Outcome> {
    if let Err(lacking) = debian::install(&instructions::PACKAGES) {
        return Ok(Outcome::Skipped(format!("{lacking:#}")));
    }
    instructions::recipe(false)?;
    Ok(Outcome::Passed)
}

/// Core's tests as they are, in Node: lengths have 32 bits there, as they have in the proxy (see core/wasm-test).
pub(super) fn core_wasm32() -> Result<Outcome> {
    if process::find("node").is_none() {
        return Ok(Outcome::Skipped("node is not on PATH".into()));
    }
    // The runner reads what the macro wrote into the binary, so both have one version.
    let runner = setup::cargo_tool("wasm-bindgen-cli", &locked("wasm-bindgen")?, "wasm-bindgen-test-runner")?;
    let toolchain = Toolchain::find()?;
    let mut cargo = toolchain.cargo("test")?;
    cargo
        .args(["--package", "otlp-gate-core", "--package", "otlp-gate-wire", "--lib", "--target-dir"])
        .arg(toolchain.target_dir()?);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    process::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", "--cfg=getrandom_backend=\"wasm_js\""))?;
    Ok(Outcome::Passed)
}

/// The version of a package in Cargo.lock.
fn locked(package: &str) -> Result<String> {
    let lock = fs::read_to_string(project::root().join("Cargo.lock")).context("reading Cargo.lock")?;
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
    let version = entry.and_then(|rest| rest.split('"').next());
    version.map(str::to_owned).with_context(|| format!("Cargo.lock has no {package}"))
}
