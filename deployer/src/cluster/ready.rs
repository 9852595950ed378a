//! Whether the gate is up, part by part, and what each waits for.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use otlp_gate_core::gate::POLICY_REVISION;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::apply::title;
use super::explain::{Trouble, filter_trouble, of_pods, trouble};
use super::{Cluster, Discovery, failed};
use crate::config::Backend;
use crate::error::Error;
use crate::providers::{MODULE_ANNOTATION, Workload};
use crate::resources::{Gate, Names, Object, revision};

/// How long a proxy may take to show its metrics.
const METRICS: Duration = Duration::from_secs(3);

/// Whether the gate is up.
#[derive(Debug, Default, Serialize)]
pub struct Standing {
    /// Where clients reach it, once it has an address.
    pub addresses: Vec<String>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Something that the gate needs.
#[derive(Debug, Serialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// Whether it is up.
    pub ready: bool,
    /// What it does, or waits for.
    pub detail: String,
    /// Why it does not come up, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

impl Standing {
    /// Whether all of it is up.
    pub fn ready(&self) -> bool {
        self.parts.iter().all(|part| part.ready)
    }
}

impl Part {
    fn new(name: String, ready: bool, detail: impl Into<String>) -> Self {
        Part { name, ready, detail: detail.into(), trouble: None }
    }
}

/// Looks at every part once.
pub async fn standing(
    cluster: &Cluster,
    discovery: &Discovery,
    gate: &Gate<'_>,
    objects: &[Object],
) -> Result<Standing, Error> {
    let mut all = Standing::default();
    if let (true, Backend::Collector(_)) = (gate.config.gateway.enabled, &gate.config.backend) {
        let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &gate.names.namespace);
        let name = gate.names.collector();
        let found = api.get_opt(&name).await.map_err(|e| failed("cannot read the Collector", &e))?;
        all.parts.push(match found {
            None => Part::new(title("deployment", None, &name), false, "is not there"),
            Some(found) => rollout(cluster, &found).await?,
        });
    }
    if gate.config.node_local.enabled {
        let namespace = gate.names.node_local_namespace(&gate.config.node_local);
        let api: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), &namespace);
        let name = gate.names.node_local();
        let found = api.get_opt(&name).await.map_err(|e| failed("cannot read the nodes' gateways", &e))?;
        all.parts.push(match found {
            None => Part::new(title("daemonset", None, &name), false, "is not there"),
            Some(found) => on_every_node(cluster, &found).await?,
        });
    }
    for object in objects {
        let Some(look) = look(&object.kind) else { continue };
        let name = title(&object.kind, None, &object.name);
        let api = discovery.api(cluster, object.api_version(), &object.kind, object.namespace.as_deref());
        let found = match api {
            None => None,
            Some(api) => {
                api.get_opt(&object.name).await.map_err(|e| failed(format_args!("cannot read {name}"), &e))?
            }
        };
        all.parts.push(match found {
            None => Part::new(name, false, "is not there"),
            Some(found) => {
                if object.kind == "Gateway" {
                    all.addresses = addresses(&found);
                }
                let (ready, detail) = look(&found);
                Part::new(name, ready, detail)
            }
        });
    }
    if gate.config.gateway.enabled {
        let proxies = gate.provider().workload(gate);
        all.parts.extend(proxy_parts(cluster, gate, &proxies).await?);
    }
    Ok(all)
}

/// Where the cluster has the gateway, if it has it.
pub async fn gateway_address(cluster: &Cluster, names: &Names) -> Result<Option<String>, Error> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let kind = ApiResource::from_gvk(&kind);
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), &names.namespace, &kind);
    let found = match api.get_opt(&names.gateway).await {
        // The cluster may not know gateways at all.
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        found => found.map_err(|e| failed(format_args!("cannot read gateway {}", names.gateway), &e))?,
    };
    Ok(found.and_then(|it| addresses(&it).into_iter().next()))
}

type Look = fn(&DynamicObject) -> (bool, String);

fn look(kind: &str) -> Option<Look> {
    match kind {
        "Gateway" => Some(gateway),
        "GRPCRoute" | "HTTPRoute" => Some(route),
        "Certificate" => Some(certificate),
        "EnvoyExtensionPolicy" | "ClientTrafficPolicy" | "BackendTrafficPolicy" => Some(policy),
        _ => None,
    }
}

/// The gateway's own proxies, and the policy that each has.
async fn proxy_parts(cluster: &Cluster, gate: &Gate<'_>, proxies: &Workload) -> Result<Vec<Part>, Error> {
    let mine = ListParams::default().labels(&proxies.selector);
    let found = match &proxies.namespace {
        Some(namespace) => Api::<Deployment>::namespaced(cluster.client.clone(), namespace).list(&mine).await,
        None => Api::<Deployment>::all(cluster.client.clone()).list(&mine).await,
    };
    let found = found.map_err(|e| failed("cannot list the gateway's Deployments", &e))?;
    let Some(deployment) = found.items.first() else {
        let detail = format!("{} has not made the gateway's Deployment", gate.provider().title());
        return Ok(vec![Part::new("proxies".to_owned(), false, detail)]);
    };
    let namespace = deployment.namespace().unwrap_or_default();
    let mut parts = vec![rollout(cluster, deployment).await?];
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let pods = pods.list(&mine).await.map_err(|e| failed("cannot list the gateway's pods", &e))?;
    let wanted = revision(&gate.config.policy(), &gate.module)?;
    let (mut current, mut without, mut unseen, mut running) = (0, None, None, 0);
    for pod in pods.items.iter().filter(|pod| is_running(pod)) {
        running += 1;
        match policy_of(cluster, &namespace, &pod.name_any(), proxies.stats_port).await {
            Ok(Some(found)) if found == wanted.number && has(pod, proxies.module.as_ref()) => current += 1,
            Ok(_) => without = Some(pod),
            Err(error) => unseen = Some(error),
        }
    }
    let part = |ready, detail: String| Part::new("filter".to_owned(), ready, detail);
    parts.push(match (unseen, without) {
        // Whoever may not look into pods can still use the gate.
        (Some(why), _) => part(true, format!("not seen, since the proxies' metrics cannot be read: {why}")),
        (None, _) if running == 0 => part(false, "no proxy runs".to_owned()),
        (None, Some(pod)) => {
            let detail = format!("{current} of {running} proxies have the policy {}", wanted.text);
            Part { trouble: filter_trouble(cluster, pod).await, ..part(false, detail) }
        }
        (None, None) => part(true, format!("policy {} in {current} of {running} proxies", wanted.text)),
    });
    Ok(parts)
}

/// Whether the pod has this module, where pods are made for one.
fn has(pod: &Pod, module: Option<&String>) -> bool {
    module.is_none_or(|wanted| pod.annotations().get(MODULE_ANNOTATION) == Some(wanted))
}

fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running")
}

/// The number of the policy that a proxy's filter has; none where the filter is not there yet.
async fn policy_of(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Option<u64>, String> {
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/stats/prometheus?filter={POLICY_REVISION}"
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    match timeout(METRICS, cluster.client.request_text(request)).await {
        Err(_) => Err(format!("no answer within {} s", METRICS.as_secs())),
        // A proxy that starts does not listen yet.
        Ok(Err(kube::Error::Api(status))) if status.code >= 500 => Ok(None),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(text)) => Ok(text
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains(POLICY_REVISION))
            .find_map(|line| line.rsplit(' ').next()?.parse().ok())),
    }
}

async fn rollout(cluster: &Cluster, deployment: &Deployment) -> Result<Part, Error> {
    let name = title("deployment", None, &deployment.name_any());
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (updated, available) = (count(status.updated_replicas), count(status.available_replicas));
    let seen = status.observed_generation >= deployment.metadata.generation;
    // Pods of the version before serve too, but with what it had.
    let ready = seen && updated >= wanted && available >= wanted && count(status.replicas) <= updated;
    let detail = if !seen {
        "not seen by the controller yet".to_owned()
    } else if updated < wanted || count(status.replicas) > updated {
        format!("{updated} of {wanted} replicas updated, {available} available")
    } else {
        format!("{available} of {wanted} replicas available")
    };
    let mut part = Part::new(name, ready, detail);
    if !ready {
        part.trouble = trouble(cluster, deployment).await?;
    }
    Ok(part)
}

async fn on_every_node(cluster: &Cluster, set: &DaemonSet) -> Result<Part, Error> {
    let name = title("daemonset", None, &set.name_any());
    let status = set.status.clone().unwrap_or_default();
    let (wanted, available) = (status.desired_number_scheduled, status.number_available.unwrap_or(0));
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let seen = status.observed_generation >= set.metadata.generation;
    let ready = seen && wanted > 0 && updated >= wanted && available >= wanted;
    let detail = if !seen {
        "not seen by the controller yet".to_owned()
    } else if updated < wanted {
        format!("updated on {updated} of {wanted} nodes, {available} available")
    } else {
        format!("available on {available} of {wanted} nodes")
    };
    let mut part = Part::new(name, ready, detail);
    if !ready {
        let selector = set.spec.as_ref().map(|spec| &spec.selector);
        part.trouble = of_pods(cluster, &set.namespace().unwrap_or_default(), selector).await?;
    }
    Ok(part)
}

fn addresses(gateway: &DynamicObject) -> Vec<String> {
    let list = gateway.data.pointer("/status/addresses").and_then(Value::as_array);
    let values = list.into_iter().flatten().filter_map(|it| it.get("value")?.as_str());
    values.map(str::to_owned).collect()
}

fn gateway(object: &DynamicObject) -> (bool, String) {
    let generation = object.metadata.generation;
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let listeners = status.get("listeners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for wanted in ["Accepted", "Programmed"] {
        if let Some(why) = unmet(status, wanted, generation) {
            // What a listener misses says more than that there is no good listener.
            let mut missing = listeners.iter().filter_map(|it| unmet(it, "ResolvedRefs", generation));
            return (false, missing.find(|it| it.contains(" is False")).unwrap_or(why));
        }
    }
    let wanted = object.data.pointer("/spec/listeners").and_then(Value::as_array).map_or(0, Vec::len);
    if listeners.len() < wanted {
        return (false, format!("{} of {wanted} listeners are set up", listeners.len()));
    }
    for listener in listeners {
        let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
        for wanted in ["Accepted", "ResolvedRefs", "Programmed"] {
            if let Some(why) = unmet(listener, wanted, generation) {
                return (false, format!("listener {name}: {why}"));
            }
        }
    }
    match addresses(object).as_slice() {
        [] => (false, "it has no address yet".to_owned()),
        found => (true, format!("at {}", found.join(", "))),
    }
}

fn route(object: &DynamicObject) -> (bool, String) {
    of_each(object, "/status/parents", &["Accepted", "ResolvedRefs"], "no gateway has taken it yet")
}

fn certificate(object: &DynamicObject) -> (bool, String) {
    let status = object.data.get("status").unwrap_or(&Value::Null);
    match unmet(status, "Ready", object.metadata.generation) {
        Some(why) => (false, why),
        None => (true, "issued".to_owned()),
    }
}

fn policy(object: &DynamicObject) -> (bool, String) {
    of_each(object, "/status/ancestors", &["Accepted"], "its controller has not taken it yet")
}

fn of_each(object: &DynamicObject, list: &str, wanted: &[&str], none: &str) -> (bool, String) {
    let generation = object.metadata.generation;
    let all = object.data.pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return (false, none.to_owned());
    }
    for one in all {
        for wanted in wanted {
            if let Some(why) = unmet(one, wanted, generation) {
                return (false, why);
            }
        }
    }
    (true, "accepted".to_owned())
}

/// Why a condition does not hold, in its controller's words.
fn unmet(status: &Value, wanted: &str, generation: Option<i64>) -> Option<String> {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let text = |condition: &Value, key: &str| {
        condition.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let Some(found) = conditions.into_iter().flatten().find(|it| text(it, "type") == wanted) else {
        return Some(format!("waits for {wanted}"));
    };
    let observed = found.get("observedGeneration").and_then(Value::as_i64);
    if observed < generation && observed.is_some() {
        return Some(format!("waits for {wanted} after the last change"));
    }
    if text(found, "status") == "True" {
        return None;
    }
    Some(format!(
        "{wanted} is {}: {}: {}",
        text(found, "status"),
        text(found, "reason"),
        text(found, "message")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, data: Value) -> DynamicObject {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("g", "v1", "Kind"));
        let mut object = DynamicObject::new("name", &kind).data(data);
        object.metadata.generation = Some(generation);
        object
    }

    fn conditions(all: &[(&str, &str, i64)]) -> Value {
        let all = all.iter().map(|(kind, status, generation)| {
            json!({"type": kind, "status": status, "reason": "Because", "message": "of this", "observedGeneration": generation})
        });
        Value::Array(all.collect())
    }

    #[test]
    fn a_gateway_is_up_when_it_its_listeners_and_its_address_are() {
        let good =
            conditions(&[("Accepted", "True", 2), ("ResolvedRefs", "True", 2), ("Programmed", "True", 2)]);
        let bad =
            conditions(&[("Accepted", "True", 2), ("ResolvedRefs", "False", 2), ("Programmed", "True", 2)]);
        let old = conditions(&[("Accepted", "True", 1), ("Programmed", "True", 1)]);
        let with = |conditions: &Value, listener: &Value, addresses: Value| {
            let listeners = json!([{"name": "grpc", "conditions": listener}]);
            let status = json!({"conditions": conditions, "listeners": listeners, "addresses": addresses});
            gateway(&object(2, json!({"spec": {"listeners": [{}]}, "status": status})))
        };
        let somewhere = json!([{"value": "192.0.2.1"}]);
        assert_eq!(with(&good, &good, somewhere.clone()), (true, "at 192.0.2.1".to_owned()));
        assert_eq!(with(&good, &good, json!([])), (false, "it has no address yet".to_owned()));
        let why = "listener grpc: ResolvedRefs is False: Because: of this".to_owned();
        assert_eq!(with(&good, &bad, somewhere.clone()), (false, why));
        let why = "waits for Accepted after the last change".to_owned();
        assert_eq!(with(&old, &good, somewhere), (false, why));
        assert_eq!(gateway(&object(1, json!({}))), (false, "waits for Accepted".to_owned()));
    }

    #[test]
    fn a_route_that_no_gateway_took_is_not_up() {
        assert!(!route(&object(1, json!({"status": {"parents": []}}))).0);
        let taken = json!({"status": {"parents": [
            {"conditions": conditions(&[("Accepted", "True", 1), ("ResolvedRefs", "True", 1)])},
        ]}});
        assert!(route(&object(1, taken)).0);
    }
}
