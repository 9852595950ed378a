//! Tools from Go modules, built once per version.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::process;

/// The path of the program that `package` is, in this version; built with Go if it is not in the cache. `name` is the
/// program's.
pub(crate) fn go_tool(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let dir = cache::folder(&format!("{name}-{version}"), |dir| {
        let mut go = process::go()?;
        go.args(["install", "-trimpath", &format!("{package}@{version}")]);
        process::run(go.env("GOBIN", dir).env("CGO_ENABLED", "0"))
    })?;
    Ok(dir.join(name))
}
