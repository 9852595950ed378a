//! `cargo xtask bench`: the cost of the filter in Envoy. See bench/README.md.

use std::process::Command;

use anyhow::Result;

use crate::cluster::{self, Provider};
use crate::{debian, process, project, setup, wasm};

/// Measures the node-local gateway, on a cluster that is started for it.
pub(crate) fn node_local(json: bool, quick: bool) -> Result<()> {
    debian::require(&setup::LOAD_PACKAGES)?;
    wasm::filter()?;
    let command = project::command()?;
    let python = setup::python()?;
    let mut bench = Command::new(python.interpreter);
    bench.env("ENVOY", python.envoy).arg(project::root().join("bench/node_local.py"));
    bench.args(json.then_some("--json")).args(quick.then_some("--quick"));
    bench.env("OTLP_GATE", command).env("OTELCOL", cluster::collector()?);
    cluster::with(Provider::Istio, 1, |kubeconfig, kubectl| {
        process::run_with_stdout(bench.env("KUBECONFIG", kubeconfig).env("KUBECTL", kubectl))
    })
}

/// Builds the modules to compare and runs bench/run.py.
pub(crate) fn recipe(json: bool, quick: bool, only: Option<&str>) -> Result<()> {
    debian::require(&setup::LOAD_PACKAGES)?;
    let python = setup::python()?;
    let gate = wasm::filter()?;
    let mut bench = Command::new(python.interpreter);
    bench.arg(project::root().join("bench/run.py")).arg("--envoy").arg(python.envoy).arg("--gate").arg(gate);
    bench.arg("--noop").arg(wasm::build("otlp-gate-bench-noop")?);
    bench.arg("--copy").arg(wasm::build("otlp-gate-bench-copy")?);
    match cluster::collector() {
        Ok(collector) => drop(bench.arg("--otelcol").arg(collector)),
        Err(error) => eprintln!("measuring without a Collector: {error:#}"),
    }
    bench.args(json.then_some("--json")).args(quick.then_some("--quick"));
    bench.args(only.iter().flat_map(|part| ["--only", *part]));
    process::run_with_stdout(&mut bench)
}
