//! `cargo xtask cluster`: a real Kubernetes with a real gateway on this machine, from plain processes in network
//! namespaces of their own. tests/cluster/README.md says how to use it.

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

use crate::{debian, process, project, setup};
use phase::Phase;
use programs::Programs;
use state::State;

/// What Debian has of a node.
const PACKAGES: [&str; 7] =
    ["busybox-static", "containerd", "containernetworking-plugins", "iproute2", "iptables", "procps", "runc"];

/// What to do with the cluster.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start it, and print the path of its kubeconfig
    Up {
        /// Who makes Gateways real
        #[arg(long, value_enum, default_value_t = Provider::Istio)]
        provider: Provider,
        /// How many nodes
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
        nodes: u8,
    },
    /// End it and remove everything of it
    Down,
    /// Print the path of its kubeconfig
    Kubeconfig,
    /// List its logs, or print one
    Logs {
        /// Which one
        name: Option<String>,
    },
    /// Kill a node's kubelet, and start it again
    RestartKubelet {
        /// Which node
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes())]
        node: u8,
    },
    /// Give Services of type LoadBalancer an address, as a cloud would
    #[command(hide = true)]
    LoadBalancer,
}

/// Who makes Gateways real.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Istio
    Istio,
    /// Envoy Gateway
    EnvoyGateway,
}

impl Provider {
    /// As the config of a gate names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Provider::Istio => "istio",
            Provider::EnvoyGateway => "envoy-gateway",
        }
    }
}

/// How many nodes there may be, and which one is meant: each has a network of its own that is known beforehand.
pub(crate) fn nodes() -> RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=2)
}

/// The OpenTelemetry Collector of the clusters.
pub(crate) fn collector() -> Result<PathBuf> {
    programs::collector()
}

/// A registry for images.
pub(crate) fn registry() -> Result<PathBuf> {
    programs::registry()
}

/// The folder of cert-manager's CRDs.
pub(crate) fn cert_manager() -> Result<PathBuf> {
    programs::cert_manager()
}

/// Starts a cluster, runs `work` with its kubeconfig and its kubectl, and ends it, whatever becomes of the work.
pub(crate) fn with(
    provider: Provider,
    nodes: u8,
    work: impl FnOnce(&Path, &str) -> Result<()>,
) -> Result<()> {
    let state = State::new()?;
    let kubectl = format!("{} kubectl", state.kubebox().display());
    // A cluster that is up already is somebody's, and stays.
    let parts = Parts::gather(&state, provider)?;
    let done = up(&state, &parts, nodes).and_then(|()| work(&state.kubeconfig(), &kubectl));
    // Where both fail, the work's error is the one that tells why.
    let ended = down::down(&state);
    done.and(ended)
}

/// The recipe.
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
            down::down(&state)
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

/// What a cluster is made of.
struct Parts {
    programs: Programs,
    provider: Provider,
    /// The folder of the provider's programs.
    provider_dir: PathBuf,
    envoy: PathBuf,
}

impl Parts {
    /// Builds and installs what is missing, where a cluster can come up.
    fn gather(state: &State, provider: Provider) -> Result<Self> {
        need_root()?;
        down::expect_none(state)?;
        debian::install(&PACKAGES)?;
        let programs = programs::built()?;
        let provider_dir = match provider {
            Provider::Istio => programs::istio()?,
            Provider::EnvoyGateway => programs::envoy_gateway()?,
        };
        let envoy = setup::python()?.envoy;
        // Building may have taken long enough for another one to come up.
        down::expect_none(state)?;
        Ok(Parts { programs, provider, provider_dir, envoy })
    }
}

fn up(state: &State, parts: &Parts, nodes: u8) -> Result<()> {
    let Parts { programs, provider, provider_dir, envoy } = parts;
    let phase = Phase::start("clean");
    down::down(state)?;
    state.create(programs)?;
    phase.done();

    let phase = Phase::start("network");
    network::up(nodes)?;
    phase.done();

    let phase = Phase::start("images");
    let mut images = images::base(programs);
    images.extend(match provider {
        Provider::Istio => istio::images(state, provider_dir, envoy)?,
        Provider::EnvoyGateway => envoy_gateway::images(provider_dir, envoy)?,
    });
    let images = images::make(state, &images)?;
    phase.done();

    // What the nodes read from the disk and what the API server computes go well together.
    thread::scope(|scope| {
        let import = |node| {
            scope.spawn({
                let images = &images;
                move || node::containers(state, node, images)
            })
        };
        let imports: Vec<_> = (1..=nodes).map(import).collect();

        let phase = Phase::start("control plane");
        control_plane::up(state)?;
        load_balancer::start(state)?;
        phase.done();

        let phase = Phase::start("gateway");
        kubectl::apply(state, &[project::root().join("tests/cluster/coredns/coredns.yaml")])?;
        kubectl::apply(state, &kubectl::manifests(&programs.gateway_api)?)?;
        match provider {
            Provider::Istio => istio::up(state, provider_dir)?,
            Provider::EnvoyGateway => envoy_gateway::up(state, provider_dir)?,
        }
        phase.done();

        let phase = Phase::start("nodes");
        for (node, import) in (1..).zip(imports) {
            import.join().map_err(|_| anyhow!("importing images into node {node} panicked"))??;
            node::join(state, node)?;
        }
        phase.done();
        anyhow::Ok(())
    })?;

    let phase = Phase::start("ready");
    node::wait_ready(state, nodes)?;
    match provider {
        Provider::Istio => istio::wait_ready(state)?,
        Provider::EnvoyGateway => envoy_gateway::wait_ready(state)?,
    }
    phase.done();
    Ok(())
}

/// Why this machine cannot have a cluster now, if it cannot.
pub(crate) fn lacking() -> Result<Option<String>> {
    if !root()? {
        return Ok(Some("a cluster's network namespaces and containers need root".into()));
    }
    let ready = process::go().and_then(|_| down::expect_none(&State::new()?));
    Ok(ready.err().map(|error| error.to_string()))
}

fn root() -> Result<bool> {
    Ok(process::stdout(std::process::Command::new("id").arg("-u"))? == "0")
}

fn need_root() -> Result<()> {
    if !root()? {
        bail!(
            "network namespaces and containers need root\n\nhint: sudo --preserve-env=PATH,HOME cargo xtask cluster ..."
        );
    }
    Ok(())
}
