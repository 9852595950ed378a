//! `cargo xtask bench`: the cost of the filter in Envoy. See bench/README.md.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cluster::{self, Provider};
use crate::{debian, native, process, project, setup, wasm};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object on one line
    #[arg(long)]
    json: bool,
    /// Send fewer requests in fewer rounds
    #[arg(long)]
    quick: bool,
    /// Measure only this: a part (rows, latency, workers, identities, backend-tls, quotas), the rows of a size (1000) or
    /// one row (1000-zstd). May be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Also write the tables into docs/reference/cost.md, in place of those that are there
    #[arg(long, conflicts_with = "node_local")]
    write_docs: bool,
    /// Also measure this build of the module, in turns with the one of this checkout
    #[arg(long, value_name = "FILE")]
    earlier: Option<PathBuf>,
    /// Measure the node-local gateway instead, in a cluster
    #[arg(long, conflicts_with_all = ["only", "earlier"])]
    node_local: bool,
}

/// Builds the modules to compare and runs bench/run.py, or bench/node_local.py.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    debian::require(&setup::LOAD_PACKAGES)?;
    let gate = wasm::filter()?;
    let python = setup::python()?;
    let mut bench = Command::new(python.interpreter);
    if args.node_local {
        bench.env("ENVOY", python.envoy).arg(project::root().join("bench/node_local.py"));
        bench.args(args.json.then_some("--json")).args(args.quick.then_some("--quick"));
        bench.env("OTLP_GATE", project::command()?).env("OTELCOL", cluster::collector()?);
        return cluster::with(Provider::Istio, 1, |kubeconfig, kubectl| {
            process::run_with_stdout(bench.env("KUBECONFIG", kubeconfig).env("KUBECTL", kubectl))
        });
    }
    bench.arg(project::root().join("bench/run.py")).arg("--envoy").arg(python.envoy).arg("--gate").arg(gate);
    bench.arg("--native").arg(native::module()?);
    bench.arg("--noop").arg(wasm::build("otlp-gate-bench-noop")?);
    bench.arg("--copy").arg(wasm::build("otlp-gate-bench-copy")?);
    match cluster::collector() {
        Ok(collector) => drop(bench.arg("--otelcol").arg(collector)),
        Err(error) => eprintln!("measuring without a Collector: {error:#}"),
    }
    bench.args(args.json.then_some("--json")).args(args.quick.then_some("--quick"));
    bench.args(args.write_docs.then_some("--write-docs"));
    bench.args(args.only.iter().flat_map(|part| ["--only", part]));
    if let Some(earlier) = &args.earlier {
        bench.arg("--earlier").arg(earlier);
    }
    process::run_with_stdout(&mut bench)
}
