//! Unit and property tests on the host and on wasm32, and the fuzz targets' properties.

use std::fs;

use anyhow::{Context, Result};

use super::Outcome;
use crate::wasm::{self, Toolchain};
use crate::{debian, instructions, process, project, setup};

pub(super) fn host() -> Result<Outcome> {
    process::run(project::cargo().arg("test"))?;
    if cfg!(target_os = "linux") {
        process::run(project::cargo().args(["test", "--package", "otlp-gate-native"]))?;
    }
    Ok(Outcome::Passed)
}

/// Runs the fuzz targets' properties for some seconds without a fuzzer, which would need a nightly compiler, and checks
/// that the targets compile. They are a workspace of their own, which shares the target folder.
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

/// Compares the instructions of the code that runs for every request with bench/instructions.txt.
pub(super) fn instructions() -> Result<Outcome> {
    if let Err(missing) = debian::require(&instructions::PACKAGES) {
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    instructions::recipe(false)?;
    Ok(Outcome::Passed)
}

/// Runs core's and wire's tests in Node, where lengths have 32 bits and SIMD is WebAssembly's, as in the proxy. See
/// core/wasm-test.
pub(super) fn core_wasm32() -> Result<Outcome> {
    if process::find("node").is_none() {
        return Ok(Outcome::Skipped("node is not on PATH".into()));
    }
    // The runner must have the version of the macro that wrote the binary.
    let runner = setup::cargo_tool("wasm-bindgen-cli", &locked("wasm-bindgen")?, "wasm-bindgen-test-runner")?;
    let toolchain = Toolchain::find()?;
    let mut cargo = toolchain.cargo("test")?;
    cargo
        .args(["--package", "otlp-gate-core", "--package", "otlp-gate-wire", "--lib", "--target-dir"])
        .arg(toolchain.target_dir()?);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    let flags = [wasm::FEATURES, "--cfg=getrandom_backend=\"wasm_js\""].join("\x1f");
    process::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", flags))?;
    Ok(Outcome::Passed)
}

/// The version of a package in Cargo.lock.
fn locked(package: &str) -> Result<String> {
    let lock = fs::read_to_string(project::root().join("Cargo.lock")).context("reading Cargo.lock")?;
    let entry = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, rest)| rest);
    let version = entry.and_then(|rest| rest.split('"').next());
    version.map(str::to_owned).with_context(|| format!("Cargo.lock has no {package}"))
}
