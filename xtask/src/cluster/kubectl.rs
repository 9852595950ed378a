//! kubectl with the cluster's administrator rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::state::State;
use crate::process;

/// kubectl with these arguments.
pub(super) fn kubectl(state: &State, arguments: &[&str]) -> Command {
    let mut command = Command::new(state.kubebox());
    command.arg("kubectl").arg(format!("--kubeconfig={}", state.kubeconfig().display())).args(arguments);
    command
}

/// Whether kubectl succeeds with these arguments. Its output is dropped.
pub(super) fn succeeds(state: &State, arguments: &[&str]) -> bool {
    let mut command = kubectl(state, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Applies manifests with server-side apply, which has no size limit for CRDs.
pub(super) fn apply(state: &State, files: &[impl AsRef<Path>]) -> Result<()> {
    let mut command = kubectl(state, &["apply", "--server-side", "--force-conflicts"]);
    for file in files {
        command.arg("--filename").arg(file.as_ref());
    }
    process::stdout(&mut command).map(drop)
}

/// The YAML files in a folder, in the order of their names.
pub(super) fn manifests(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Waits until a Deployment is rolled out.
pub(super) fn rolled_out(state: &State, namespace: &str, name: &str) -> Result<()> {
    let target = format!("deployment/{name}");
    process::stdout(&mut kubectl(state, &["-n", namespace, "rollout", "status", &target, "--timeout=120s"]))
        .map(drop)
}
