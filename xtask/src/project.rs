//! Where the project and what it builds and installs are kept.

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
    // What the cargo that runs this recipe says of this package is not for the packages that it builds: `ring` would be
    // built anew each time, and all that stands on it.
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

/// Cargo's target folder: `CARGO_TARGET_DIR`, or what cargo's configuration says.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = process::stdout(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let dir = metadata.get("target_directory").and_then(|dir| dir.as_str());
    dir.map(PathBuf::from).context("cargo metadata names no target_directory")
}

/// Where what recipes install is kept, outside the tree: `$OTLP_GATE_CACHE`, else `$XDG_CACHE_HOME/otlp-gate`, else
/// `~/.cache/otlp-gate`. The CLI looks for Envoy in the same place.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("OTLP_GATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("otlp-gate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/otlp-gate")))
        .context("no place for the cache: set OTLP_GATE_CACHE to a folder")
}
