//! `cargo xtask bench`: what the filter costs Envoy. See bench/README.md.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cluster, debian, project, setup, wasm};

/// Builds the modules to compare, installs what makes the load, and runs bench/run.py.
pub(crate) fn recipe(json: bool, quick: bool) -> Result<()> {
    let python = setup::python()?;
    debian::install(&setup::LOAD_PACKAGES)?;
    let gate = wasm::filter()?;
    let mut bench = Command::new(python.interpreter);
    bench.arg(project::root().join("bench/run.py")).arg("--envoy").arg(python.envoy).arg("--gate").arg(gate);
    bench.arg("--noop").arg(wasm::build("otlp-gate-bench-noop")?);
    bench.arg("--copy").arg(wasm::build("otlp-gate-bench-copy")?);
    match cluster::collector() {
        Ok(collector) => drop(bench.arg("--otelcol").arg(collector)),
        Err(why) => eprintln!("without a Collector beside: {why:#}"),
    }
    bench.args(json.then_some("--json")).args(quick.then_some("--quick"));
    let status = bench.status().context("could not start bench/run.py")?;
    if !status.success() {
        bail!("bench/run.py failed ({status})");
    }
    Ok(())
}
