//! A replacement for a cloud's load balancer. A Service of type LoadBalancer gets its cluster IP as its address, which
//! this machine and every pod can reach.

use std::env;
use std::io::BufReader;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Deserializer, Value, json};

use super::state::State;
use super::{daemon, kubectl, network};
use crate::process;

/// Starts [`serve`] in a process of its own.
pub(super) fn start(state: &State) -> Result<()> {
    let xtask = env::current_exe().context("looking for the path of xtask")?;
    daemon::start(state, "load-balancer", network::inside(1, xtask).args(["cluster", "load-balancer"]))
}

/// Watches Services and sets their addresses, without end.
pub(super) fn serve(state: &State) -> Result<()> {
    loop {
        if let Err(error) = watch(state) {
            eprintln!("{error:#}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn watch(state: &State) -> Result<()> {
    let arguments = ["get", "services", "--all-namespaces", "--watch", "--output=json"];
    let mut child =
        kubectl::kubectl(state, &arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let events = BufReader::new(child.stdout.take().context("kubectl has no stdout")?);
    for service in Deserializer::from_reader(events).into_iter::<Value>() {
        if let Some((namespace, name, address)) = service.as_ref().ok().and_then(waiting) {
            eprintln!("{namespace}/{name}: {address}");
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}).to_string();
            let patch =
                ["patch", "service", name, "-n", namespace, "--subresource=status", "--type=merge", "-p"];
            // The Service may have been deleted.
            if let Err(error) = process::stdout(kubectl::kubectl(state, &patch).arg(status)) {
                eprintln!("{error:#}");
            }
        }
    }
    child.wait()?;
    Ok(())
}

/// Namespace, name and cluster IP of a Service that needs an address.
fn waiting(service: &Value) -> Option<(&str, &str, &str)> {
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str);
    let served = service.pointer("/status/loadBalancer/ingress/0").is_some();
    if text("/spec/type") != Some("LoadBalancer") || served {
        return None;
    }
    Some((text("/metadata/namespace")?, text("/metadata/name")?, text("/spec/clusterIP")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_load_balancer_without_an_address_gets_one() {
        let service = |kind: &str, status: Value| {
            json!({
                "metadata": {"namespace": "a", "name": "b"},
                "spec": {"type": kind, "clusterIP": "10.96.0.7"},
                "status": {"loadBalancer": status},
            })
        };
        assert_eq!(waiting(&service("LoadBalancer", json!({}))), Some(("a", "b", "10.96.0.7")));
        assert_eq!(waiting(&service("ClusterIP", json!({}))), None);
        assert_eq!(waiting(&service("LoadBalancer", json!({"ingress": [{"ip": "10.96.0.7"}]}))), None);
    }
}
