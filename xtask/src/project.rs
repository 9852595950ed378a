//! The paths of the project, of what it builds, and of its cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The cargo of this toolchain, started in the root of the work tree.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // Variables that `cargo xtask` sets for this package must not reach other builds: `ring` and all that depends on it
    // would be built again each time.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds `otlp-gate` and returns its path. The module must have been built before.
pub(crate) fn command() -> Result<PathBuf> {
    process::run(cargo().args(["build", "--package", "otlp-gate"]))?;
    Ok(target_dir()?.join("debug/otlp-gate"))
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or the one in cargo's configuration.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = process::stdout(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let dir = metadata.get("target_directory").and_then(|dir| dir.as_str());
    dir.map(PathBuf::from).context("cargo metadata has no target_directory")
}

/// The folder for what recipes install, outside the tree: `$OTLP_GATE_CACHE`, else `$XDG_CACHE_HOME/otlp-gate`, else
/// `~/.cache/otlp-gate`. `otlp-gate` looks for Envoy in the same folder.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("OTLP_GATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("otlp-gate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/otlp-gate")))
        .context("no folder for the cache\n\nhint: set OTLP_GATE_CACHE to a folder")
}

/// Whether `CI` is set: nothing may be skipped, and Debian packages may be installed.
pub(crate) fn ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}
