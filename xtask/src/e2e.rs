//! `cargo xtask e2e`: the whole road on a real cluster, from the command to what arrives behind the Collector.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cluster::{self, Provider};
use crate::{process, project, setup, wasm};

/// What shows whether a thing is on its own node only.
const NODES: u8 = 2;

/// Tests that have the cluster for themselves come after the others, of which some run at a time, since they mostly wait. Those of
/// one file, or of one class, share a gate, and change it.
const RUNS: [&[&str]; 2] = [
    &["-m", "not alone", "--numprocesses=4", "--dist=loadscope", "--no-loadscope-reorder"],
    &["-m", "alone"],
];

/// What pytest exits with where no test is what it was asked for.
const NO_TESTS: i32 = 5;

/// Where to run it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who makes Gateways real
    #[arg(long, value_enum, default_value_t = Provider::Istio)]
    provider: Provider,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = NODES, value_parser = cluster::nodes())]
    nodes: u8,
    /// A cluster of yours for tests instead of one on this machine: tests/cluster/README.md says what it must have
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

/// Runs the tests in tests/cluster, both times also where one of them fails.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    if let Some(kubeconfig) = &args.kubeconfig {
        std::fs::File::open(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    }
    wasm::filter()?;
    process::run(project::cargo().args(["build", "--package", "otlp-gate"]))?;
    // Before there is a cluster, which would wait for what is built.
    let python = setup::python()?;
    let mut env: Vec<(&str, OsString)> = vec![
        ("OTLP_GATE", project::target_dir()?.join("debug/otlp-gate").into()),
        ("ENVOY", python.envoy.into()),
        ("OTLP_GATE_PROVIDER", args.provider.name().into()),
        ("OTELCOL", cluster::collector()?.into()),
        ("CERT_MANAGER_CRDS", cluster::cert_manager()?.into()),
        ("REGISTRY", cluster::registry()?.into()),
    ];
    if args.kubeconfig.is_none() {
        // Who can harm the cluster's own parts.
        env.push(("CLUSTER_XTASK", std::env::current_exe()?.into()));
    }
    let mut tests = |kubeconfig: &Path, kubectl: &str| {
        env.extend([("KUBECONFIG", std::path::absolute(kubeconfig)?.into()), ("KUBECTL", kubectl.into())]);
        let [together, alone] = RUNS.map(|run| {
            let mut pytest = Command::new(&python.interpreter);
            pytest.current_dir(project::root()).envs(env.iter().cloned());
            pytest.args(["-m", "pytest", "--timeout=300", "tests/cluster"]).args(run).args(&args.pytest);
            process::run_unless(&mut pytest, NO_TESTS)
        });
        if !(together? | alone?) {
            bail!("no test is what was asked for");
        }
        Ok(())
    };
    match &args.kubeconfig {
        Some(kubeconfig) => tests(kubeconfig, "kubectl"),
        None => cluster::with(args.provider, args.nodes, tests),
    }
}
