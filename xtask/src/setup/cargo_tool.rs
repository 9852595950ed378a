//! Tools from crates, built once per version.

use std::path::PathBuf;

use anyhow::Result;

use super::cache;
use crate::{process, project};

/// The path of `program` of `package` in this version; built if it is not in the cache. It is barely optimized, because
/// it runs for seconds and takes minutes to build.
pub(crate) fn cargo_tool(package: &str, version: &str, program: &str) -> Result<PathBuf> {
    let dir = cache::folder(&format!("{package}-{version}"), |dir| {
        let install = |locked: &[&str]| {
            let mut cargo = project::cargo();
            cargo.args(["install", package, "--version", version, "--bin", program]).args(locked);
            cargo.args(["--no-default-features", "--root"]).arg(dir);
            cargo.envs([
                ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
            ]);
            process::run(cargo.env_remove("CARGO_TARGET_DIR"))
        };
        // A registry mirror may lack a version in the tool's own Cargo.lock.
        install(&["--locked"]).or_else(|_| install(&[]))
    })?;
    Ok(dir.join("bin").join(program))
}
