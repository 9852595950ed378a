//! The bill of materials: which crates the command contains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::cargo_tool;
use crate::{process, project};

const PROGRAM: &str = "cargo-cyclonedx";
const VERSION: &str = "0.5.9";
/// The name of the file that the program writes, without `.json`.
const FILE: &str = "otlp-gate-sbom";

/// The list in CycloneDX's JSON.
pub(super) fn cyclonedx() -> Result<Vec<u8>> {
    let program = cargo_tool(PROGRAM, VERSION, PROGRAM)?;
    let root = project::root();
    let mut command = Command::new(program);
    command.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", "all", "--quiet"]);
    command.args(["--override-filename", FILE, "--manifest-path"]).arg(root.join("deployer/Cargo.toml"));
    // The time of the commit stands for that of the build.
    let mut git = Command::new("git");
    let time = process::stdout(git.args(["log", "-1", "--format=%ct"]).current_dir(&root))?;
    process::run(command.env("SOURCE_DATE_EPOCH", time.trim()).current_dir(&root))?;
    // It writes a file beside the manifest of each package of the workspace.
    let file = format!("{FILE}.json");
    let written = root.join("deployer").join(&file);
    let sbom = fs::read_to_string(&written).with_context(|| format!("reading {}", written.display()))?;
    for folder in packages()? {
        let _ = fs::remove_file(folder.join(&file));
    }
    Ok(sbom.replace(&root.display().to_string(), "/otlp-gate").into_bytes())
}

/// The folders of the workspace's packages.
fn packages() -> Result<Vec<PathBuf>> {
    let metadata =
        process::stdout(project::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let packages = metadata.get("packages").and_then(|it| it.as_array()).into_iter().flatten();
    let manifests = packages.filter_map(|package| package.get("manifest_path")?.as_str());
    Ok(manifests.filter_map(|manifest| Path::new(manifest).parent().map(Path::to_path_buf)).collect())
}
