//! `cargo xtask bench`: what the filter costs Envoy. See bench/README.md.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Provider};
use crate::{debian, process, project, setup, wasm};

/// Measures the gateway on a node, on a cluster that is started for it.
pub(crate) fn node_local(json: bool, quick: bool) -> Result<()> {
    wasm::filter()?;
    process::run(project::cargo().args(["build", "--package", "otlp-gate"]))?;
    debian::install(&setup::LOAD_PACKAGES)?;
    let python = setup::python()?;
    let mut bench = Command::new(python.interpreter);
    bench.env("ENVOY", python.envoy).arg(project::root().join("bench/node_local.py"));
    bench.args(json.then_some("--json")).args(quick.then_some("--quick"));
    bench
        .env("OTLP_GATE", project::target_dir()?.join("debug/otlp-gate"))
        .env("OTELCOL", cluster::collector()?);
    cluster::with(Provider::Istio, 1, |kubeconfig, kubectl| {
        run(bench.env("KUBECONFIG", kubeconfig).env("KUBECTL", kubectl))
    })
}

/// Builds the modules to compare, installs what makes the load, and runs bench/run.py.
pub(crate) fn recipe(json: bool, quick: bool, only: Option<&str>) -> Result<()> {
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
    bench.args(only.iter().flat_map(|part| ["--only", *part]));
    run(&mut bench)
}

/// Data goes to stdout here, unlike what other child processes print.
fn run(bench: &mut Command) -> Result<()> {
    let status = bench.status().context("could not start the bench")?;
    if !status.success() {
        bail!("the bench failed ({status})");
    }
    Ok(())
}
