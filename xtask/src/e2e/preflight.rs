//! Checks that a contributor's cluster (kind, minikube or another one for tests) has what the tests need. For
//! everything that is missing, the commands that install it are printed.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io::Write, thread};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::cluster::{GATEWAY_API, Provider};
use crate::{process, project};

/// The release of Envoy Gateway in the hint, as in tests/cluster/envoy-gateway.
const ENVOY_GATEWAY: &str = "v1.9.1";
/// The namespace of the Service that tries the load balancer.
const NAMESPACE: &str = "otlp-gate-preflight";

/// A cluster that has passed the checks.
pub(super) struct Given {
    /// A kubeconfig with this cluster only.
    pub(super) kubeconfig: PathBuf,
    /// The address at which pods reach this machine.
    pub(super) machine: String,
}

/// Something that the cluster lacks, and how to get it.
#[derive(Clone)]
struct Missing {
    what: String,
    hint: String,
}

/// What a check found.
type Found = std::result::Result<String, Missing>;

fn missing<T>(what: impl Into<String>, hint: impl Into<String>) -> std::result::Result<T, Missing> {
    Err(Missing { what: what.into(), hint: hint.into() })
}

/// The program that made the cluster, for the hints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maker {
    Kind,
    Minikube,
    Other,
}

/// Runs all checks and prints their results.
///
/// # Errors
///
/// If kubectl cannot read the cluster, or something is missing.
pub(super) fn check(kubeconfig: Option<&Path>, context: Option<&str>, provider: Provider) -> Result<Given> {
    if process::find("kubectl").is_none() {
        bail!("kubectl is not on PATH\n\nhint: see https://kubernetes.io/docs/tasks/tools/");
    }
    let cluster = Cluster { kubeconfig: flattened(kubeconfig, context)? };
    let nodes = cluster.get(&["nodes"]).context("reading the cluster's nodes")?;
    let nodes = nodes.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let (maker, machine) = (maker(&nodes), machine(&nodes));
    eprintln!("checking the cluster of {}", cluster.name()?);
    let results = [
        ("rights", cluster.rights()),
        ("nodes", two_nodes(&nodes, maker)),
        ("Gateway API", cluster.gateway_api()),
        ("provider", cluster.provider(provider)),
        ("pods", cluster.reach_pods(&nodes)),
        ("this machine", machine.clone()),
        ("load balancer", cluster.load_balancer(maker)),
        (
            "Go",
            process::go().map_or_else(
                |error| missing("go is not on PATH", format!("{error:#}")),
                |_| Ok("on PATH".into()),
            ),
        ),
    ];
    let lacking = report(&results);
    if lacking > 0 {
        bail!("the cluster lacks {lacking} of {} things that the tests need", results.len());
    }
    Ok(Given { kubeconfig: cluster.kubeconfig, machine: machine.unwrap_or_default() })
}

/// Prints a line for each check. Returns how many failed.
fn report(results: &[(&str, Found)]) -> usize {
    for (name, result) in results {
        match result {
            Ok(found) => eprintln!("  {name:<14} ok       {found}"),
            Err(Missing { what, hint }) => {
                eprintln!("  {name:<14} MISSING  {what}");
                hint.lines().for_each(|line| eprintln!("      {line}"));
            }
        }
    }
    results.iter().filter(|(_, result)| result.is_err()).count()
}

/// Writes a kubeconfig with the chosen cluster only, so that a change of the current context does not matter.
fn flattened(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<PathBuf> {
    let mut view = Command::new("kubectl");
    view.args(["config", "view", "--minify", "--flatten", "--raw"]);
    if let Some(file) = kubeconfig {
        fs::File::open(file).with_context(|| format!("reading {}", file.display()))?;
        view.env("KUBECONFIG", file);
    }
    view.args(context.map(|name| format!("--context={name}")));
    let text = process::stdout(&mut view).map_err(|error| {
        anyhow!("{error:#}\n\nhint: `kubectl config get-contexts` lists the contexts of the kubeconfig")
    })?;
    let path = project::target_dir()?.join("e2e-kubeconfig.yaml");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// The cluster of a kubeconfig.
struct Cluster {
    kubeconfig: PathBuf,
}

impl Cluster {
    fn kubectl(&self, args: &[&str]) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl.env("KUBECONFIG", &self.kubeconfig).args(args).arg("--request-timeout=20s");
        kubectl
    }

    fn get(&self, args: &[&str]) -> Result<Value> {
        let text = process::stdout(self.kubectl(&["get"]).args(args).args(["-o", "json"]))?;
        serde_json::from_str(&text).context("reading kubectl's output")
    }

    /// The same, without an error message where the object does not exist.
    fn find(&self, args: &[&str]) -> Option<Value> {
        let output =
            self.kubectl(&["get"]).args(args).args(["-o", "json"]).stderr(Stdio::null()).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The name of the kubeconfig's context.
    fn name(&self) -> Result<String> {
        process::stdout(&mut self.kubectl(&["config", "current-context"]))
    }

    fn rights(&self) -> Found {
        let mut ask = self.kubectl(&["auth", "can-i", "*", "*", "--all-namespaces"]);
        match ask.stderr(Stdio::null()).output() {
            Ok(output) if output.stdout.starts_with(b"yes") => Ok("cluster-admin".into()),
            _ => missing("you may not do everything in the cluster", "use a kubeconfig of a cluster-admin"),
        }
    }

    fn gateway_api(&self) -> Found {
        let release = "https://github.com/kubernetes-sigs/gateway-api/releases/download";
        let Some(crd) = self.find(&["crd", "gateways.gateway.networking.k8s.io"]) else {
            return missing(
                "no CRDs of Gateway API",
                format!("kubectl apply --server-side -f {release}/{GATEWAY_API}/standard-install.yaml"),
            );
        };
        let annotation = "/metadata/annotations/gateway.networking.k8s.io~1bundle-version";
        Ok(crd.pointer(annotation).and_then(Value::as_str).unwrap_or("installed").to_owned())
    }

    fn provider(&self, provider: Provider) -> Found {
        let (class, install) = provider_hint(provider);
        match self.find(&["gatewayclass", class]) {
            Some(found) if is_accepted(&found) => Ok(format!("GatewayClass {class}")),
            Some(_) => missing(format!("GatewayClass {class} is not accepted by its controller"), install),
            None => missing(format!("no GatewayClass {class}"), install),
        }
    }

    /// Connects to DNS of a CoreDNS pod.
    fn reach_pods(&self, nodes: &[Value]) -> Found {
        let pods = self.find(&["pods", "-n", "kube-system", "-l", "k8s-app=kube-dns"]);
        let address =
            pods.as_ref().and_then(|pods| pods.pointer("/items/0/status/podIP")).and_then(Value::as_str);
        let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok()) else {
            return missing(
                "no CoreDNS pod to connect to",
                "kubectl get pods -n kube-system -l k8s-app=kube-dns",
            );
        };
        match TcpStream::connect_timeout(&SocketAddr::new(address, 53), Duration::from_secs(5)) {
            Ok(_) => Ok(format!("this machine reaches {address}")),
            Err(error) => missing(
                format!("this machine does not reach the pod {address}: {error}"),
                routes(nodes).join("\n"),
            ),
        }
    }

    /// Creates a Service of type LoadBalancer and waits for its address.
    fn load_balancer(&self, maker: Maker) -> Found {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "load-balancer", "namespace": NAMESPACE},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 4317}]},
        });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [namespace, service]});
        let result = self.apply(&list).map(|()| self.wait_for_address());
        let delete = ["delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found"];
        let _ = self.kubectl(&delete).stdout(Stdio::null()).status();
        match result {
            Ok(Some(address)) => Ok(format!("it gave a Service the address {address}")),
            Ok(None) => missing(
                "a Service of type LoadBalancer gets no address within 30 s",
                match maker {
                    Maker::Kind => {
                        "go install sigs.k8s.io/cloud-provider-kind@latest\n\
                         sudo \"$(go env GOPATH)/bin/cloud-provider-kind\"    # in another terminal"
                    }
                    Maker::Minikube => "minikube tunnel    # in another terminal",
                    Maker::Other => "install a load balancer, for example https://metallb.io",
                },
            ),
            Err(error) => {
                missing(format!("cannot create a Service: {error:#}"), "see the error of kubectl above")
            }
        }
    }

    fn wait_for_address(&self) -> Option<String> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            let service = self.find(&["service", "load-balancer", "-n", NAMESPACE]);
            if let Some(address) = service.as_ref().and_then(load_balancer_address) {
                return Some(address.to_owned());
            }
            thread::sleep(Duration::from_secs(1));
        }
        None
    }

    fn apply(&self, object: &Value) -> Result<()> {
        let mut kubectl = self.kubectl(&["apply", "-f", "-"]);
        let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        child.stdin.take().context("kubectl has no stdin")?.write_all(object.to_string().as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("kubectl apply failed ({status})");
        }
        Ok(())
    }
}

/// The address at which pods reach this machine: `OTLP_GATE_MACHINE`, else the source address of the route to a node.
fn machine(nodes: &[Value]) -> Found {
    let set = env::var("OTLP_GATE_MACHINE").ok().filter(|address| !address.is_empty());
    let address = match set {
        Some(address) => address.parse().ok(),
        None => nodes.first().and_then(node_address).and_then(source_address),
    };
    match address {
        Some(address) if TcpListener::bind(SocketAddr::new(address, 0)).is_ok() => Ok(address.to_string()),
        Some(address) => missing(
            format!("{address} is not an address of this machine"),
            "export OTLP_GATE_MACHINE=ADDRESS    # an address of this machine that pods reach",
        ),
        None => missing(
            "the address at which pods reach this machine is unknown",
            "export OTLP_GATE_MACHINE=ADDRESS    # an address of this machine that pods reach",
        ),
    }
}

/// This machine's address on the route to another address. Nothing is sent.
fn source_address(to: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(SocketAddr::new(to, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn two_nodes(nodes: &[Value], maker: Maker) -> Found {
    if nodes.len() >= 2 {
        return Ok(nodes.len().to_string());
    }
    missing(
        "some tests need two nodes",
        match maker {
            Maker::Minikube => "minikube node add",
            Maker::Kind | Maker::Other => {
                "kind create cluster --name otlp-gate --config - <<'END'\n\
                 {kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{role: control-plane}, {role: worker}]}\n\
                 END"
            }
        },
    )
}

/// The GatewayClass of a provider, and the commands that install the provider.
fn provider_hint(provider: Provider) -> (&'static str, String) {
    match provider {
        Provider::Istio => ("istio", "istioctl install --set profile=minimal -y".into()),
        Provider::EnvoyGateway => (
            "eg",
            format!(
                "helm install eg oci://docker.io/envoyproxy/gateway-helm --version {ENVOY_GATEWAY} \
                 -n envoy-gateway-system --create-namespace\n\
                 kubectl apply -f - <<'END'\n\
                 {{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: eg}},\n \
                 spec: {{controllerName: gateway.envoyproxy.io/gatewayclass-controller}}}}\n\
                 END"
            ),
        ),
    }
}

/// The program that made the cluster, by the first node.
fn maker(nodes: &[Value]) -> Maker {
    let text = |pointer: &str| nodes.first().and_then(|node| node.pointer(pointer)).and_then(Value::as_str);
    if text("/spec/providerID").is_some_and(|id| id.starts_with("kind://")) {
        Maker::Kind
    } else if text("/metadata/labels/minikube.k8s.io~1name").is_some() {
        Maker::Minikube
    } else {
        Maker::Other
    }
}

/// Commands that route the pods' addresses of each node through the node.
fn routes(nodes: &[Value]) -> Vec<String> {
    let route = |node: &Value| {
        let pods = node.pointer("/spec/podCIDR")?.as_str()?;
        Some(format!("sudo ip route replace {pods} via {}", node_address(node)?))
    };
    nodes.iter().filter_map(route).collect()
}

/// The InternalIP of a node.
fn node_address(node: &Value) -> Option<IpAddr> {
    let addresses = node.pointer("/status/addresses")?.as_array()?;
    let internal =
        addresses.iter().find(|one| one.get("type").and_then(Value::as_str) == Some("InternalIP"))?;
    internal.get("address")?.as_str()?.parse().ok()
}

fn load_balancer_address(service: &Value) -> Option<&str> {
    let ingress = service.pointer("/status/loadBalancer/ingress/0")?;
    ingress.get("ip").or_else(|| ingress.get("hostname"))?.as_str()
}

/// Whether a GatewayClass has the condition Accepted.
fn is_accepted(class: &Value) -> bool {
    let conditions = class.pointer("/status/conditions").and_then(Value::as_array);
    let is =
        |condition: &Value, key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| is(condition, "type", "Accepted") && is(condition, "status", "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider_id: &str, labels: Value) -> Value {
        json!({
            "metadata": {"labels": labels},
            "spec": {"providerID": provider_id, "podCIDR": "10.244.1.0/24"},
            "status": {"addresses": [
                {"type": "Hostname", "address": "worker"},
                {"type": "InternalIP", "address": "172.18.0.3"},
            ]},
        })
    }

    #[test]
    fn hints_fit_the_program_that_made_the_cluster() {
        let kind = [(); 2].map(|()| node("kind://docker/otlp-gate/worker", json!({})));
        let minikube = node("", json!({"minikube.k8s.io/name": "minikube"}));
        assert_eq!(maker(&kind), Maker::Kind);
        assert_eq!(maker(&[minikube]), Maker::Minikube);
        assert_eq!(maker(&[node("aws:///x", json!({}))]), Maker::Other);
        assert_eq!(maker(&[]), Maker::Other);
        let one = two_nodes(&kind[..1], Maker::Kind);
        assert!(one.is_err_and(|missing| missing.hint.contains("kind create cluster")));
        assert!(two_nodes(&kind, Maker::Kind).is_ok());
    }

    #[test]
    fn pods_are_routed_through_their_node() {
        let nodes = [node("", json!({})), json!({"spec": {}})];
        assert_eq!(routes(&nodes), ["sudo ip route replace 10.244.1.0/24 via 172.18.0.3"]);
    }

    #[test]
    fn a_gateway_class_must_be_accepted() {
        let class =
            |status: &str| json!({"status": {"conditions": [{"type": "Accepted", "status": status}]}});
        assert!(is_accepted(&class("True")));
        assert!(!is_accepted(&class("Unknown")));
        assert!(!is_accepted(&json!({})));
    }

    #[test]
    fn a_load_balancer_may_have_an_address_or_a_host_name() {
        let service = |ingress: Value| json!({"status": {"loadBalancer": {"ingress": ingress}}});
        assert_eq!(load_balancer_address(&service(json!([{"ip": "172.18.0.4"}]))), Some("172.18.0.4"));
        assert_eq!(load_balancer_address(&service(json!([{"hostname": "lb.example"}]))), Some("lb.example"));
        assert_eq!(load_balancer_address(&service(json!([]))), None);
    }

    #[test]
    fn this_machines_address_is_on_the_route_to_the_cluster() {
        assert_eq!(source_address(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn what_is_missing_is_counted() {
        let results = [("a", Ok("1".to_owned())), ("b", missing("no b", "install b"))];
        assert_eq!(report(&results), 1);
    }
}
