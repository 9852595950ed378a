//! `cargo xtask cluster`: a real Kubernetes with a real gateway on this machine, from plain processes in network
//! namespaces of their own. tests/cluster/README.md says how to use it.

mod certificates;
mod cgroup;
mod control_plane;
mod daemon;
mod down;
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

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};

use crate::{debian, process, setup};
use phase::Phase;
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
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
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
    /// Give Services of type LoadBalancer an address, as a cloud would
    #[command(hide = true)]
    LoadBalancer,
}

/// Who makes Gateways real.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Istio
    Istio,
}

impl Provider {
    /// As the config of a gate names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Provider::Istio => "istio",
        }
    }
}

/// The OpenTelemetry Collector of the clusters.
pub(crate) fn collector() -> Result<PathBuf> {
    programs::collector()
}

/// Starts a cluster, runs `work` with its kubeconfig and its kubectl, and ends it, whatever becomes of the work.
pub(crate) fn with(provider: Provider, work: impl FnOnce(&Path, &str) -> Result<()>) -> Result<()> {
    let state = State::new()?;
    let kubectl = format!("{} kubectl", state.kubebox().display());
    let done = up(&state, provider, 1).and_then(|()| work(&state.kubeconfig(), &kubectl));
    // Where both fail, the work's error is the one that tells why.
    let ended = down::down(&state);
    done.and(ended)
}

/// The recipe.
pub(crate) fn recipe(action: &Action) -> Result<()> {
    let state = State::new()?;
    match action {
        Action::Up { provider, nodes } => {
            up(&state, *provider, *nodes)?;
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
        Action::LoadBalancer => load_balancer::serve(&state),
    }
}

fn up(state: &State, provider: Provider, nodes: u8) -> Result<()> {
    need_root()?;
    debian::install(&PACKAGES)?;
    let programs = programs::built()?;
    let envoy = setup::python()?.envoy;

    let phase = Phase::start("clean");
    down::down(state)?;
    state.create(&programs)?;
    phase.done();

    let phase = Phase::start("network");
    network::up(nodes)?;
    phase.done();

    let phase = Phase::start("images");
    let images = images::make(state, &programs, &envoy)?;
    phase.done();

    let phase = Phase::start("control plane");
    control_plane::up(state)?;
    load_balancer::start(state)?;
    phase.done();

    let phase = Phase::start("nodes");
    for number in 1..=nodes {
        node::up(state, number, &images)?;
    }
    phase.done();

    let phase = Phase::start("gateway");
    match provider {
        Provider::Istio => istio::up(state, &programs)?,
    }
    phase.done();

    let phase = Phase::start("ready");
    node::wait_ready(state, nodes)?;
    match provider {
        Provider::Istio => istio::wait_ready(state)?,
    }
    phase.done();
    Ok(())
}

fn need_root() -> Result<()> {
    if process::stdout(std::process::Command::new("id").arg("-u"))? != "0" {
        bail!(
            "network namespaces and containers need root\n\nhint: sudo --preserve-env=PATH,HOME cargo xtask cluster ..."
        );
    }
    Ok(())
}
