//! etcd, the API server, the controller manager and the scheduler, in the network namespace of the first node.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::Result;
use serde_json::json;

use super::state::State;
use super::{certificates, daemon, kubectl, network};
use crate::project;

/// Writes the certificates and the kubeconfig.
pub(super) fn configure(state: &State) -> Result<()> {
    certificates::write(state)?;
    write_kubeconfig(state)
}

/// Starts them and waits until the API server is ready.
pub(super) fn up(state: &State) -> Result<()> {
    daemon::start(state, "etcd", &mut etcd(state))?;
    daemon::start(state, "kube-apiserver", &mut api_server(state))?;
    daemon::wait_until("kube-apiserver", "the API server is ready", || {
        kubectl::succeeds(state, &["get", "--raw", "/readyz", "--request-timeout=1s"])
    })?;
    for name in ["kube-controller-manager", "kube-scheduler"] {
        let mut command = kube(state, 1, name);
        command.args(["--leader-elect=false", "--secure-port=0"]);
        command.arg(format!("--kubeconfig={}", state.kubeconfig().display()));
        if name == "kube-controller-manager" {
            let key = state.pki("service-accounts.key");
            command.arg(format!("--service-account-private-key-file={}", key.display()));
            command.arg(format!("--root-ca-file={}", state.pki("ca.crt").display()));
            command.arg("--use-service-account-credentials=true");
        }
        daemon::start(state, name, &mut command)?;
    }
    kubectl::apply(state, &[project::root().join("tests/cluster/kube/small-requests.yaml")])
}

/// Waits until pods request next to nothing, so that any number of gates fits on the nodes.
pub(super) fn wait_ready(state: &State) -> Result<()> {
    let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "64"}}});
    let overrides = json!({"apiVersion": "v1", "spec": {"containers": [container]}}).to_string();
    let output = "--output=jsonpath={.spec.containers[0].resources.requests.cpu}";
    daemon::wait_until("kube-apiserver", "pods request next to nothing", || {
        let mut trial = kubectl::kubectl(state, &["run", "trial", "--image=i", "--dry-run=server", output]);
        trial.args(["--overrides", &overrides]).stdin(Stdio::null()).stderr(Stdio::null());
        trial.output().is_ok_and(|output| output.stdout == b"1m")
    })
}

/// A program of Kubernetes in the network namespace of a node.
pub(super) fn kube(state: &State, node: u8, program: &str) -> Command {
    let mut command = network::inside(node, state.kubebox());
    // A quarter of the API server's CPU time would go to collecting garbage. Its heap is small.
    command.arg(program).env("GOGC", "400");
    command
}

fn write_kubeconfig(state: &State) -> Result<()> {
    let server = format!("https://{}:6443", network::node_address(1));
    let file = |name| state.pki(name);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "otlp-gate-test",
            "cluster": {"server": server, "certificate-authority": file("ca.crt")},
        }],
        "users": [{
            "name": "admin",
            "user": {"client-certificate": file("admin.crt"), "client-key": file("admin.key")},
        }],
        "contexts": [{"name": "otlp-gate-test", "context": {"cluster": "otlp-gate-test", "user": "admin"}}],
        "current-context": "otlp-gate-test",
    });
    Ok(fs::write(state.kubeconfig(), serde_json::to_vec_pretty(&config)?)?)
}

fn etcd(state: &State) -> Command {
    let mut command = kube(state, 1, "etcd");
    let (clients, peers) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
    command.arg(format!("--data-dir={}", state.dir().join("etcd").display()));
    // The data need not survive a crash.
    command.arg("--unsafe-no-fsync=true");
    for flag in ["listen-client-urls", "advertise-client-urls"] {
        command.arg(format!("--{flag}={clients}"));
    }
    for flag in ["listen-peer-urls", "initial-advertise-peer-urls"] {
        command.arg(format!("--{flag}={peers}"));
    }
    command.arg(format!("--initial-cluster=default={peers}"));
    command
}

fn api_server(state: &State) -> Command {
    let mut command = kube(state, 1, "kube-apiserver");
    for (flag, file) in [
        ("tls-cert-file", "api.crt"),
        ("tls-private-key-file", "api.key"),
        ("client-ca-file", "ca.crt"),
        ("service-account-key-file", "service-accounts.pub"),
        ("service-account-signing-key-file", "service-accounts.key"),
        ("kubelet-client-certificate", "admin.crt"),
        ("kubelet-client-key", "admin.key"),
    ] {
        command.arg(format!("--{flag}={}", state.pki(file).display()));
    }
    command.arg(format!("--cert-dir={}", state.dir().join("kube-apiserver").display()));
    command.arg(format!("--advertise-address={}", network::node_address(1)));
    command.arg(format!("--service-cluster-ip-range={}", network::SERVICES));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged",
        // For tests/cluster/kube/small-requests.yaml. They are on by default from Kubernetes 1.36.
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
    ]);
    command
}
