//! `cargo xtask demo`: sets everything up, then shows the whole road on this machine.

use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

use crate::{process, project, setup, wasm};

/// Builds the command with its module, installs Envoy, and runs `otlp-gate demo`.
pub(crate) fn recipe(json: bool, keep: bool) -> Result<()> {
    let python = setup::python()?;
    wasm::filter()?;
    process::run(project::cargo().args(["build", "--package", "otlp-gate"]))?;
    let mut demo = Command::new(project::target_dir()?.join("debug/otlp-gate"));
    demo.arg("demo").args(json.then_some("--json")).args(keep.then_some("--keep"));
    let status: ExitStatus =
        demo.arg("--envoy").arg(python.envoy).status().context("could not start `otlp-gate demo`")?;
    if !status.success() {
        bail!("`otlp-gate demo` failed ({status})");
    }
    Ok(())
}
