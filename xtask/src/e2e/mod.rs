//! `cargo xtask e2e`: the tests in tests/cluster, from the command to what arrives behind the Collector.

mod preflight;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cluster::{self, Provider};
use crate::{project, pytest, setup, wasm};

/// Some tests compare two nodes.
const NODES: u8 = 2;

/// Most tests run three at a time, since they mostly wait. The tests of a file or a class share a gate and change it, so
/// they stay together. Tests that are marked `alone` follow one by one.
const RUNS: [&[&str]; 2] = [
    &["-m", "not alone", "--numprocesses=3", "--dist=loadscope", "--no-loadscope-reorder"],
    &["-m", "alone"],
];

/// The cluster and the tests to run.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask e2e --context kind-otlp-gate --check\n  \
                        cargo xtask e2e --context kind-otlp-gate -- -k guide\n  \
                        sudo --preserve-env=PATH,HOME cargo xtask e2e --provider envoy-gateway")]
pub(crate) struct Args {
    /// The Gateway provider
    #[arg(long, value_enum, default_value_t = Provider::Istio)]
    provider: Provider,
    /// Use the cluster of this context, for example `kind-otlp-gate` (tests/cluster/README.md)
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Use the cluster of this kubeconfig (default with --context: as kubectl)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Only check that the cluster has what the tests need
    #[arg(long)]
    check: bool,
    /// The number of nodes of the cluster that is started without --context and --kubeconfig
    #[arg(long, value_name = "N", default_value_t = NODES, value_parser = cluster::nodes(),
          conflicts_with_all = ["context", "kubeconfig", "check"])]
    nodes: u8,
    /// Arguments for pytest, such as `-k guide`
    #[arg(last = true, value_name = "ARG")]
    pytest: Vec<String>,
}

impl Args {
    /// All tests, on a cluster that is started for them.
    pub(crate) fn new(provider: Provider) -> Self {
        Args { provider, context: None, kubeconfig: None, check: false, nodes: NODES, pytest: Vec::new() }
    }

    fn is_own_cluster(&self) -> bool {
        self.context.is_none() && self.kubeconfig.is_none()
    }
}

/// Runs the tests in tests/cluster. The tests that run alone are run also if one of the others fails.
pub(crate) fn recipe(args: &Args) -> Result<()> {
    if args.is_own_cluster() {
        if args.check {
            bail!("--check needs a cluster\n\nhint: add `--context NAME` or `--kubeconfig FILE`");
        }
        // Built first, because a cluster that waits for it takes memory and CPU time.
        let mut env = environment(args)?;
        // For tests that restart the kubelets.
        env.push(("CLUSTER_XTASK", std::env::current_exe()?.into()));
        return cluster::with(args.provider, args.nodes, |kubeconfig, kubectl| {
            tests(args, env, kubeconfig, kubectl)
        });
    }
    let given = preflight::check(args.kubeconfig.as_deref(), args.context.as_deref(), args.provider)?;
    if args.check {
        return Ok(());
    }
    let mut env = environment(args)?;
    env.push(("OTLP_GATE_MACHINE", given.machine.into()));
    tests(args, env, &given.kubeconfig, "kubectl")
}

/// Builds the programs that the tests need. Returns the variables with their paths.
fn environment(args: &Args) -> Result<Vec<(&'static str, OsString)>> {
    wasm::filter()?;
    Ok(vec![
        ("OTLP_GATE", project::command()?.into()),
        ("ENVOY", setup::python()?.envoy.into()),
        ("OTLP_GATE_PROVIDER", args.provider.name().into()),
        ("OTELCOL", cluster::collector()?.into()),
        ("CERT_MANAGER_CRDS", cluster::cert_manager()?.into()),
        ("PROMETHEUS_OPERATOR_CRDS", cluster::prometheus_operator()?.into()),
        ("REGISTRY", cluster::registry()?.into()),
    ])
}

fn tests(
    args: &Args,
    mut env: Vec<(&'static str, OsString)>,
    kubeconfig: &Path,
    kubectl: &str,
) -> Result<()> {
    env.extend([("KUBECONFIG", kubeconfig.into()), ("KUBECTL", kubectl.into())]);
    let interpreter = setup::python()?.interpreter;
    let [together, alone] = RUNS.map(|run| {
        let mut command = Command::new(&interpreter);
        command.current_dir(project::root()).envs(env.iter().cloned());
        command.args(["-m", "pytest", "--timeout=600", "--durations=10", "tests/cluster"]);
        pytest::run(command.args(run).args(&args.pytest))
    });
    if !(together? | alone?) {
        bail!("no test was selected");
    }
    Ok(())
}
