//! The cluster's network: a namespace for each node. The first is linked to this machine and to the second.
//!
//! This machine reaches pods and Services by two routes. No namespace has a default route, so the cluster reaches only
//! one address outside: this machine's end of the link.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;

/// The addresses of pods, of nodes and of the link to this machine.
pub(super) const PODS: &str = "10.244.0.0/16";
/// The addresses of Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";
/// The address of the API server's Service, which is always the first.
pub(super) const API_SERVICE: &str = "10.96.0.1";
/// The address of CoreDNS's Service, as in tests/cluster/coredns/coredns.yaml.
pub(super) const DNS_SERVICE: &str = "10.96.0.10";
/// This machine's end of the link.
const MACHINE: &str = "10.244.255.1";
/// The first node's end of the link.
const GATEWAY: &str = "10.244.255.2";
/// The network device of this machine's end.
const LINK_NAME: &str = "otlp-gate";

/// The name of a node's network namespace.
pub(super) fn namespace(node: u8) -> String {
    format!("otlp-gate-{node}")
}

/// The address of a node, on its loopback device.
pub(super) fn node_address(node: u8) -> String {
    format!("10.244.0.{node}")
}

/// The addresses of a node's pods.
pub(super) fn pods(node: u8) -> String {
    format!("10.244.{node}.0/24")
}

/// A command in the network namespace of a node. `ip netns exec` would mount a fresh /sys and hide the cgroups.
pub(super) fn inside(node: u8, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", namespace(node))).arg("--").arg(program);
    command
}

/// Creates the namespaces, links and routes.
pub(super) fn up(nodes: u8) -> Result<()> {
    for node in 1..=nodes {
        namespace_up(node)?;
    }
    let first = namespace(1);
    ip(&format!("link add {LINK_NAME} type veth peer name machine netns {first}"))?;
    ip(&format!("addr add {MACHINE}/30 dev {LINK_NAME}"))?;
    ip(&format!("link set {LINK_NAME} up"))?;
    ip(&format!("-n {first} addr add {GATEWAY}/30 dev machine"))?;
    ip(&format!("-n {first} link set machine up"))?;
    for network in [PODS, SERVICES] {
        ip(&format!("route add {network} via {GATEWAY} dev {LINK_NAME}"))?;
    }
    if nodes > 1 { link(1, 2) } else { Ok(()) }
}

/// Removes what exists of them.
pub(super) fn down() -> Result<()> {
    // A namespace stays, without a name, until all TCP connections of killed processes have ended. Its link would stay
    // as well.
    if Path::new("/sys/class/net").join(LINK_NAME).exists() {
        ip(&format!("link del {LINK_NAME}"))?;
    }
    for node in 1..=2 {
        if namespace_path(node).exists() {
            // This removes the other links in it.
            ip(&format!("netns del {}", namespace(node)))?;
        }
    }
    Ok(())
}

/// The path of a node's network namespace.
pub(super) fn namespace_path(node: u8) -> PathBuf {
    Path::new("/run/netns").join(namespace(node))
}

fn namespace_up(node: u8) -> Result<()> {
    let (name, address) = (namespace(node), node_address(node));
    ip(&format!("netns add {name}"))?;
    ip(&format!("-n {name} link set lo up"))?;
    ip(&format!("-n {name} addr add {address}/32 dev lo"))?;
    ip(&format!("-n {name} link add cni0 type bridge"))?;
    ip(&format!("-n {name} addr add 10.244.{node}.1/24 dev cni0"))?;
    ip(&format!("-n {name} link set cni0 up"))?;
    // kube-proxy rewrites the address of a Service before the packet leaves, but only if there is a route.
    ip(&format!("-n {name} route add {SERVICES} dev cni0 src {address}"))?;
    process::run(inside(node, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))
}

/// Links two nodes. The second sends everything through the first.
fn link(first: u8, second: u8) -> Result<()> {
    let (a, b) = (namespace(first), namespace(second));
    let (a_address, b_address) = (node_address(first), node_address(second));
    ip(&format!("-n {a} link add node-{second} type veth peer name node-{first} netns {b}"))?;
    ip(&format!("-n {a} link set node-{second} up"))?;
    ip(&format!("-n {b} link set node-{first} up"))?;
    ip(&format!("-n {a} route add {b_address} dev node-{second} src {a_address}"))?;
    ip(&format!("-n {b} route add {a_address} dev node-{first} src {b_address}"))?;
    ip(&format!("-n {a} route add {} via {b_address} dev node-{second} src {a_address}", pods(second)))?;
    ip(&format!("-n {b} route add {PODS} via {a_address} dev node-{first} src {b_address}"))
}

fn ip(arguments: &str) -> Result<()> {
    process::run(Command::new("ip").args(arguments.split_whitespace()))
}
