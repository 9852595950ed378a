//! `cargo xtask cluster`: a Kubernetes cluster with a Gateway provider on this machine, as processes in network
//! namespaces. tests/cluster/README.md describes it.

mod certificates;
mod cgroup;
mod control_plane;
mod daemon;
mod down;
mod envoy_gateway;
mod images;
mod istio;
mod kubectl;
mod load_balancer;
mod network;
mod node;
mod phase;
mod programs;
mod state;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, anyhow, bail};
use clap::builder::RangedI64ValueParser;
use clap::{Subcommand, ValueEnum};

use crate::{debian, process, project, setup, wasm};
use phase::Phase;
pub(crate) use programs::GATEWAY_API;
use programs::Programs;
use state::State;

/// The Debian packages with the programs of a node.
const PACKAGES: [&str; 8] = [
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "procps",
    "redis-tools",
    "runc",
];

/// A command for the cluster.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start a cluster and print the path of its kubeconfig
    Up {
        /// The Gateway provider
        #[arg(long, value_enum, default_value_t = Provider::Istio)]
        provider: Provider,
        /// The number of nodes
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
        nodes: u8,
    },
    /// Stop the cluster and remove its files, mounts and network
    Down,
    /// Print the path of the cluster's kubeconfig
    Kubeconfig,
    /// List the logs of the cluster's processes, or print one
    Logs {
        /// The log to print
        name: Option<String>,
    },
    /// Kill a node's kubelet and start it again
    RestartKubelet {
        /// The node's number
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
        node: u8,
    },
    /// Set the address of Services of type LoadBalancer
    #[command(hide = true)]
    LoadBalancer,
}

/// A Gateway provider.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Istio
    Istio,
    /// Envoy Gateway
    EnvoyGateway,
}

impl Provider {
    /// Its name in `gateway.provider`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Provider::Istio => "istio",
            Provider::EnvoyGateway => "envoy-gateway",
        }
    }
}

/// A number of nodes, or the number of a node. Each node has a fixed network, so there are at most two.
pub(crate) fn nodes() -> RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=2)
}

/// The path of the OpenTelemetry Collector.
pub(crate) fn collector() -> Result<PathBuf> {
    programs::collector()
}

/// The path of an image registry.
pub(crate) fn registry() -> Result<PathBuf> {
    programs::registry()
}

/// The folder of cert-manager's CRDs.
pub(crate) fn cert_manager() -> Result<PathBuf> {
    programs::cert_manager()
}

/// The folder of the Prometheus operator's CRDs.
pub(crate) fn prometheus_operator() -> Result<PathBuf> {
    programs::prometheus_operator()
}

/// Starts a cluster, calls `work` with its kubeconfig and kubectl, and stops it, also if `work` fails.
pub(crate) fn with(
    provider: Provider,
    nodes: u8,
    work: impl FnOnce(&Path, &str) -> Result<()>,
) -> Result<()> {
    let state = State::new()?;
    let kubectl = format!("{} kubectl", state.kubebox().display());
    // Fails if a cluster is running, without stopping it.
    let parts = Parts::gather(&state, provider)?;
    let done = up(&state, &parts, nodes).and_then(|()| work(&state.kubeconfig(), &kubectl));
    // If both fail, the first error is the cause.
    let stopped = down::down(&state);
    done.and(stopped)
}

/// Runs a command for the cluster.
pub(crate) fn recipe(action: &Action) -> Result<()> {
    let state = State::new()?;
    match action {
        Action::Up { provider, nodes } => {
            up(&state, &Parts::gather(&state, *provider)?, *nodes)?;
            println!("{}", state.kubeconfig().display());
            Ok(())
        }
        Action::Down => {
            need_root()?;
            let phase = Phase::start("stopping the cluster");
            down::down(&state)?;
            phase.done();
            Ok(())
        }
        Action::Kubeconfig => {
            println!("{}", state.running_kubeconfig()?.display());
            Ok(())
        }
        Action::Logs { name } => daemon::logs(&state, name.as_deref()),
        Action::RestartKubelet { node } => {
            state.running_kubeconfig()?;
            down::end_of_node(&state, *node, "kubelet")?;
            node::start_kubelet(&state, *node)
        }
        Action::LoadBalancer => load_balancer::serve(&state),
    }
}

/// The programs of a cluster.
struct Parts {
    programs: Programs,
    provider: Provider,
    /// The folder with the provider's programs.
    provider_dir: PathBuf,
    envoy: PathBuf,
    /// The command `otlp-gate`, for its own jobs in the cluster.
    command: PathBuf,
}

impl Parts {
    /// Builds and installs what is missing.
    ///
    /// # Errors
    ///
    /// If this is not root, or a cluster is running.
    fn gather(state: &State, provider: Provider) -> Result<Self> {
        need_root()?;
        down::expect_none(state)?;
        debian::require(&PACKAGES)?;
        let programs = programs::built()?;
        let provider_dir = match provider {
            Provider::Istio => programs::istio()?,
            Provider::EnvoyGateway => programs::envoy_gateway()?,
        };
        let envoy = setup::python()?.envoy;
        wasm::filter()?;
        let command = project::command()?;
        // Another cluster may have been started during the build.
        down::expect_none(state)?;
        Ok(Parts { programs, provider, provider_dir, envoy, command })
    }
}

fn up(state: &State, parts: &Parts, nodes: u8) -> Result<()> {
    let Parts { programs, provider, provider_dir, envoy, command } = parts;
    eprintln!(
        "starting a cluster with {} and {nodes} node{}",
        provider.name(),
        if nodes == 1 { "" } else { "s" }
    );
    let phase = Phase::start("removing a former cluster");
    down::down(state)?;
    state.create(programs)?;
    phase.done();

    let phase = Phase::start("creating networks");
    network::up(nodes)?;
    phase.done();

    let phase = Phase::start("building images");
    let mut images = images::base(programs)?;
    images.extend(match provider {
        Provider::Istio => istio::images(state, provider_dir, envoy)?,
        Provider::EnvoyGateway => envoy_gateway::images(provider_dir, envoy)?,
    });
    images.push(images::command(state, command)?);
    let images = images::make(state, &images)?;
    phase.done();

    // Importing images uses the disk and starting the API server uses the CPU, so both run at once. A kubelet waits for
    // the API server.
    control_plane::configure(state)?;
    thread::scope(|scope| {
        let start = |node| {
            let images = &images;
            scope.spawn(move || node::containers(state, node, images).and_then(|()| node::join(state, node)))
        };
        let starts: Vec<_> = (1..=nodes).map(start).collect();

        let phase = Phase::start("starting the control plane");
        control_plane::up(state)?;
        load_balancer::start(state)?;
        phase.done();

        let phase = Phase::start("installing the provider");
        kubectl::apply(state, &[project::root().join("tests/cluster/coredns/coredns.yaml")])?;
        kubectl::apply(state, &kubectl::manifests(&programs.gateway_api)?)?;
        match provider {
            Provider::Istio => istio::up(state, provider_dir)?,
            Provider::EnvoyGateway => envoy_gateway::up(state, provider_dir)?,
        }
        phase.done();

        let phase = Phase::start("starting the nodes");
        for (node, start) in (1..=nodes).zip(starts) {
            start.join().map_err(|_| anyhow!("starting node {node} panicked"))??;
        }
        phase.done();
        anyhow::Ok(())
    })?;

    let phase = Phase::start("waiting for pods");
    control_plane::wait_ready(state)?;
    node::wait_ready(state, nodes)?;
    match provider {
        Provider::Istio => istio::wait_ready(state)?,
        Provider::EnvoyGateway => envoy_gateway::wait_ready(state)?,
    }
    phase.done();
    Ok(())
}

/// Why a cluster cannot be started on this machine now, if it cannot.
pub(crate) fn why_not() -> Result<Option<String>> {
    if let Err(error) = need_root() {
        return Ok(Some(error.to_string()));
    }
    let ready = process::go().and_then(|_| down::expect_none(&State::new()?));
    Ok(ready.err().map(|error| error.to_string()))
}

fn need_root() -> Result<()> {
    if !process::is_root()? {
        bail!(
            "a cluster of network namespaces and containers needs root\n\nhint: use a cluster of yours \
             (tests/cluster/README.md), or run `sudo --preserve-env=PATH,HOME cargo xtask ...`"
        );
    }
    Ok(())
}
