//! `cargo xtask build-native`: the filter as a dynamic module for the Envoy of this machine.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{process, project};

const PROFILE: &str = "native";
/// Cargo's output, and the name by which Envoy finds it: the command has a library of that name.
const BUILT: &str = "libotlp_gate_native.so";
const FILE: &str = "libotlp_gate.so";

/// Builds the module and prints its path.
pub(crate) fn recipe() -> Result<()> {
    println!("{}", module()?.display());
    Ok(())
}

/// Builds the module into `<target>/libotlp_gate.so` and returns that path.
pub(crate) fn module() -> Result<PathBuf> {
    let built = build(PROFILE)?;
    let target = project::target_dir()?;
    let placed = target.join(FILE);
    // A new file: an Envoy may have the old one mapped.
    let new = target.join(format!("{FILE}.new"));
    fs::copy(&built, &new).with_context(|| format!("copying {}", built.display()))?;
    fs::rename(&new, &placed).with_context(|| format!("writing {}", placed.display()))?;
    eprintln!("{FILE}: {} bytes", fs::metadata(&placed)?.len());
    Ok(placed)
}

/// Builds the module for tests, which find more with its assertions and overflow checks, and returns its path.
pub(crate) fn for_tests() -> Result<PathBuf> {
    build("dev")
}

fn build(profile: &str) -> Result<PathBuf> {
    process::run(project::cargo().args(["build", "--package", "otlp-gate-native", "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(project::target_dir()?.join(folder).join(BUILT))
}
