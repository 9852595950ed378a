//! `cargo xtask demo`: builds what the demo needs, then runs `otlp-gate demo`.

use std::process::Command;

use anyhow::Result;

use crate::{process, project, setup, wasm};

/// Builds the command with its module, installs Envoy, and runs `otlp-gate demo`.
pub(crate) fn recipe(json: bool, keep: bool) -> Result<()> {
    let python = setup::python()?;
    wasm::filter()?;
    let mut demo = Command::new(project::command()?);
    demo.arg("demo").args(json.then_some("--json")).args(keep.then_some("--keep"));
    process::run_with_stdout(demo.arg("--envoy").arg(python.envoy))
}
