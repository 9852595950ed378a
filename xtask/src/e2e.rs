//! `cargo xtask e2e`: the whole road on a real cluster, from the command to what arrives behind the Collector.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cluster::{self, Provider};
use crate::{process, project, setup, wasm};

/// What shows whether a thing is on its own node only.
const NODES: u8 = 2;

/// Where to run it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who makes Gateways real
    #[arg(long, value_enum, default_value_t = Provider::Istio)]
    provider: Provider,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = NODES, value_parser = cluster::nodes())]
    nodes: u8,
    /// A cluster of yours instead of one on this machine; its pods must reach this machine at $OTLP_GATE_MACHINE
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    kubeconfig: Option<PathBuf>,
    /// What to ask pytest for, such as `-k stamped`
    #[arg(last = true, value_name = "ARG")]
    pytest: Vec<String>,
}

impl Args {
    /// All tests on a cluster of our own.
    pub(crate) fn new(provider: Provider) -> Self {
        Args { provider, nodes: NODES, kubeconfig: None, pytest: Vec::new() }
    }
}

/// Runs the tests in tests/cluster.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    wasm::filter()?;
    process::run(project::cargo().args(["build", "--package", "otlp-gate"]))?;
    // Before there is a cluster, which would wait for what is built.
    let python = setup::python()?;
    let mut pytest = Command::new(python.interpreter);
    pytest
        .current_dir(project::root())
        .args(["-m", "pytest", "--timeout=300", "tests/cluster"])
        .args(&args.pytest);
    pytest.env("OTLP_GATE", project::target_dir()?.join("debug/otlp-gate")).env("ENVOY", python.envoy);
    pytest.env("OTLP_GATE_PROVIDER", args.provider.name());
    pytest.env("OTELCOL", cluster::collector()?).env("CERT_MANAGER_CRDS", cluster::cert_manager()?);
    pytest.env("REGISTRY", cluster::registry()?);
    if args.kubeconfig.is_none() {
        // Who can harm the cluster's own parts.
        pytest.env("CLUSTER_XTASK", std::env::current_exe()?);
    }
    let mut tests = |kubeconfig: &Path, kubectl: &str| {
        process::run(pytest.env("KUBECONFIG", std::path::absolute(kubeconfig)?).env("KUBECTL", kubectl))
    };
    match &args.kubeconfig {
        Some(kubeconfig) => tests(kubeconfig, "kubectl"),
        None => cluster::with(args.provider, args.nodes, tests),
    }
}
