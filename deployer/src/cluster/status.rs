//! The status of a gate in the cluster, component by component.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use otlp_gate_core::gate::{FOREIGN_CERTIFICATES, POLICY_REVISION};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::timeout;

use super::api_error::api_error;
use super::bundles::Bundle;
use super::client::Cluster;
use super::conditions::{addresses, reader};
use super::diagnosis::{Diagnosis, of_deployment, of_pods, of_proxy};
use super::discovery::Discovery;
use super::not_ready::{Cause, NotReady};
use super::server_certificate::ServerCertificate;
use crate::config::{Backend, Collector, Queue, TlsMode};
use crate::error::Error;
use crate::model::{Installation, Names, Object, revision, title};
use crate::output::rfc3339;
use crate::providers::{self, Provider};

/// How long a proxy may take to return its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);

/// The status of a gate.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    /// The Gateway's addresses.
    pub(crate) addresses: Vec<String>,
    /// The components.
    #[serde(rename = "parts")]
    pub(crate) components: Vec<Component>,
}

/// An object or group of pods that the gate needs.
#[derive(Debug, Serialize)]
pub(crate) struct Component {
    /// Kind and name, or `proxies` or `filter`.
    pub(crate) name: String,
    /// Whether it is ready.
    pub(crate) ready: bool,
    /// What it provides, or why it is not ready.
    pub(crate) detail: String,
    /// What its pods report, if it is not ready.
    #[serde(rename = "trouble", skip_serializing_if = "Option::is_none")]
    pub(crate) diagnosis: Option<Diagnosis>,
    #[serde(skip)]
    cause: Option<Cause>,
}

impl Status {
    /// Whether all components are ready.
    pub(crate) fn ready(&self) -> bool {
        self.components.iter().all(|it| it.ready)
    }

    /// The components that are not ready.
    pub(crate) fn not_ready(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(|it| !it.ready)
    }

    /// What to do about the most specific cause, if one is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.not_ready().filter_map(Component::cause).min().map(Cause::hint)
    }
}

impl Component {
    fn new(name: String, state: Result<String, NotReady>) -> Self {
        let (ready, cause) = (state.is_ok(), state.as_ref().err().and_then(NotReady::cause));
        let detail = state.unwrap_or_else(|why| why.to_string());
        Component { name, ready, detail, diagnosis: None, cause }
    }

    /// The client CAs in a ConfigMap.
    pub(crate) fn of_bundle(bundle: &Bundle) -> Self {
        Component::new(format!("client CA {}", bundle.ca), bundle.state())
    }

    fn cause(&self) -> Option<Cause> {
        let diagnosed = self.diagnosis.as_ref().and_then(|it| Cause::of(&it.message));
        self.cause.into_iter().chain(diagnosed).min()
    }
}

/// Reads the status of every component once.
///
/// # Errors
/// The API server does not respond, or does not allow to read the objects.
pub(crate) async fn status(
    cluster: &Cluster,
    discovery: &Discovery,
    installation: &Installation<'_>,
    objects: impl IntoIterator<Item = &Object>,
) -> Result<Status, Error> {
    let (config, names) = (installation.config, &installation.names);
    let mut status = Status::default();
    if let (true, Backend::Collector(it)) = (config.gateway.enabled, &config.backend) {
        status.components.push(collector(cluster, names, it).await?);
    }
    if config.node_local.enabled {
        let namespace = names.node_local_namespace(&config.node_local);
        let api: Api<DaemonSet> = Api::namespaced(cluster.client.clone(), &namespace);
        let name = names.node_local();
        let found =
            api.get_opt(&name).await.map_err(|e| api_error("cannot read the node-local gateway", &e))?;
        status.components.push(match found {
            None => Component::new(title("daemonset", None, &name), Err(NotReady::NotFound)),
            Some(found) => daemon_set(cluster, &found).await?,
        });
    }
    for object in objects {
        let Some(read) = reader(&object.kind) else { continue };
        let name = object.short_title();
        let api = discovery.api(cluster, object.api_version(), &object.kind, object.namespace.as_deref());
        let found = match api {
            None => None,
            Some(api) => api
                .get_opt(&object.name)
                .await
                .map_err(|e| api_error(format_args!("cannot read {name}"), &e))?,
        };
        if let ("Gateway", Some(found)) = (object.kind.as_str(), &found) {
            status.addresses = addresses(found);
        }
        let state = found.as_ref().map_or(Err(NotReady::NotFound), read);
        status.components.push(Component::new(name, state));
    }
    if config.gateway.enabled {
        status.components.push(server_certificate(cluster, installation).await?);
        status.components.extend(proxies(cluster, installation, providers::of(config)).await?);
    }
    Ok(status)
}

/// The server's certificate: where it comes from, and until when it is valid.
async fn server_certificate(cluster: &Cluster, installation: &Installation<'_>) -> Result<Component, Error> {
    let now = OffsetDateTime::now_utc();
    let state = match ServerCertificate::read(cluster, installation).await? {
        ServerCertificate::Unreadable => Ok("unknown: its Secret may not be read".to_owned()),
        ServerCertificate::Missing => Err(NotReady::NotFound),
        ServerCertificate::Invalid(why) => Err(NotReady::NoCertificate { why }),
        ServerCertificate::Found(it) if it.not_after < now => {
            Err(NotReady::CertificateExpired { when: rfc3339(it.not_after) })
        }
        ServerCertificate::Found(it) => {
            Ok(ServerCertificate::describe(&it, &ServerCertificate::source(installation), now))
        }
    };
    Ok(Component::new("server certificate".to_owned(), state))
}

/// The Gateway's address in the cluster, if the Gateway exists and has one.
pub(crate) async fn gateway_address(cluster: &Cluster, names: &Names) -> Result<Option<String>, Error> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let kind = ApiResource::from_gvk(&kind);
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), &names.namespace, &kind);
    let found = match api.get_opt(&names.gateway).await {
        // The cluster may not serve the Gateway API.
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        found => found.map_err(|e| api_error(format_args!("cannot read gateway/{}", names.gateway), &e))?,
    };
    Ok(found.and_then(|it| addresses(&it).into_iter().next()))
}

/// The gateway's proxies, and the policy that their filters have.
async fn proxies(
    cluster: &Cluster,
    installation: &Installation<'_>,
    provider: &dyn Provider,
) -> Result<Vec<Component>, Error> {
    let workload = provider.workload(installation);
    let selected = ListParams::default().labels(&workload.selector);
    let api: Api<Deployment> = match &workload.namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    let found = api.list(&selected).await;
    let found = found.map_err(|e| api_error("cannot list the gateway's Deployments", &e))?;
    let Some(found) = found.items.first() else {
        let why = NotReady::NoProxyDeployment { provider: provider.title() };
        return Ok(vec![Component::new("proxies".to_owned(), Err(why))]);
    };
    let namespace = found.namespace().unwrap_or_default();
    let mut components = vec![deployment(cluster, found).await?];
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let pods = pods.list(&selected).await.map_err(|e| api_error("cannot list the gateway's pods", &e))?;
    let wanted = revision(&installation.policy, &installation.module, installation.extension.kind)?;
    let (mut running, mut current, mut outdated, mut unreadable) = (0, 0, None, None);
    let mut foreign = 0;
    for pod in pods.items.iter().filter(|pod| is_running(pod)) {
        running += 1;
        match metrics(cluster, &namespace, &pod.name_any(), workload.stats_port).await {
            Ok(metrics) => {
                foreign += metrics.foreign_certificates;
                let same = metrics.revision == Some(wanted.number);
                if same && has_annotations(pod, &workload.annotations) {
                    current += 1;
                } else {
                    outdated = Some(pod);
                }
            }
            Err(error) => unreadable = Some(error),
        }
    }
    let state = match (unreadable, outdated) {
        // A user who may not read pods' metrics can still use the gate.
        (Some(why), _) => Ok(format!("unknown: the proxies' metrics cannot be read: {why}")),
        (None, _) if running == 0 => Err(NotReady::NoProxyRunning),
        (None, Some(_)) => Err(NotReady::OutdatedPolicy { current, running, policy: wanted.text }),
        (None, None) => {
            let mut detail = format!("policy {} in {current} of {running} proxies", wanted.text);
            if foreign > 0 {
                detail.push_str(&format!(
                    "; {foreign} connections with x-forwarded-client-cert of clients, which is ignored: `otlp-gate \
                     doctor` shows what forwards it"
                ));
            }
            Ok(detail)
        }
    };
    let mut filter = Component::new("filter".to_owned(), state);
    if let (false, Some(pod)) = (filter.ready, outdated) {
        filter.diagnosis = of_proxy(cluster, pod).await;
    }
    components.push(filter);
    Ok(components)
}

/// Whether the pod has the module and the CAs that it is bound to.
fn has_annotations(pod: &Pod, wanted: &[(&str, String)]) -> bool {
    wanted.iter().all(|(key, value)| pod.annotations().get(*key) == Some(value))
}

fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Running")
}

/// What the filter of a proxy reports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metrics {
    /// The revision of its policy; none if it is not running yet.
    revision: Option<u64>,
    /// How many connections had an `x-forwarded-client-cert` that the proxy did not write.
    foreign_certificates: u64,
}

impl Metrics {
    /// Reads the text format of Prometheus.
    fn read(text: &str) -> Self {
        let value = |name: &str| {
            let mut lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(name));
            lines.find_map(|line| line.rsplit(' ').next()?.parse().ok())
        };
        Metrics {
            revision: value(POLICY_REVISION),
            foreign_certificates: value(FOREIGN_CERTIFICATES).unwrap_or_default(),
        }
    }
}

/// What the filter of a proxy reports; nothing if it is not running yet.
async fn metrics(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Metrics, String> {
    // `%7C` is `|`: the filter is a regular expression.
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/stats/prometheus\
         ?filter={POLICY_REVISION}%7C{FOREIGN_CERTIFICATES}"
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(|e| e.to_string())?;
    match timeout(METRICS_TIMEOUT, cluster.pods.request_text(request)).await {
        Err(_) => Err(format!("no response within {} s", METRICS_TIMEOUT.as_secs())),
        // A starting proxy does not listen yet.
        Ok(Err(kube::Error::Api(status))) if status.code >= 500 => Ok(Metrics::default()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(text)) => Ok(Metrics::read(&text)),
    }
}

/// The Collector that otlp-gate deploys.
async fn collector(cluster: &Cluster, names: &Names, collector: &Collector) -> Result<Component, Error> {
    let mut component = workload(cluster, names, collector.queue).await?;
    if component.ready && collector.tls == TlsMode::Off {
        component.detail.push_str("; in plain text from the gateway (`tls: off`)");
    }
    Ok(component)
}

async fn workload(cluster: &Cluster, names: &Names, queue: Queue) -> Result<Component, Error> {
    let name = names.collector();
    let cannot = |e: &kube::Error| api_error("cannot read the Collector", e);
    let not_found = |kind| Ok(Component::new(title(kind, None, &name), Err(NotReady::NotFound)));
    match queue {
        Queue::Memory => {
            let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &names.namespace);
            match api.get_opt(&name).await.map_err(|e| cannot(&e))? {
                None => not_found("deployment"),
                Some(found) => deployment(cluster, &found).await,
            }
        }
        Queue::Durable => {
            let api: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), &names.namespace);
            match api.get_opt(&name).await.map_err(|e| cannot(&e))? {
                None => not_found("statefulset"),
                Some(found) => stateful_set(cluster, &found).await,
            }
        }
    }
}

async fn stateful_set(cluster: &Cluster, set: &StatefulSet) -> Result<Component, Error> {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.clone().unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (updated, available) = (count(status.updated_replicas), count(status.available_replicas));
    let state = if status.observed_generation < set.metadata.generation {
        Err(NotReady::NotObserved)
    } else {
        of_replicas(wanted, status.replicas, updated, available)
    };
    let mut component = Component::new(title("statefulset", None, &set.name_any()), state);
    if !component.ready {
        let selector = set.spec.as_ref().map(|spec| &spec.selector);
        component.diagnosis = of_pods(cluster, &set.namespace().unwrap_or_default(), selector).await?;
    }
    Ok(component)
}

/// The state of a rollout of this many wanted, existing, updated and available replicas.
fn of_replicas(wanted: i32, existing: i32, updated: i32, available: i32) -> Result<String, NotReady> {
    if updated < wanted || existing > updated {
        // Old replicas are available too, but with the old configuration.
        Err(NotReady::ReplicasUpdating { updated, wanted, available })
    } else if available < wanted {
        Err(NotReady::ReplicasUnavailable { available, wanted })
    } else {
        Ok(format!("{available} of {wanted} replicas available"))
    }
}

async fn deployment(cluster: &Cluster, deployment: &Deployment) -> Result<Component, Error> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let (updated, available) = (count(status.updated_replicas), count(status.available_replicas));
    let state = if status.observed_generation < deployment.metadata.generation {
        Err(NotReady::NotObserved)
    } else {
        of_replicas(wanted, count(status.replicas), updated, available)
    };
    let mut component = Component::new(title("deployment", None, &deployment.name_any()), state);
    if !component.ready {
        component.diagnosis = of_deployment(cluster, deployment).await?;
    }
    Ok(component)
}

async fn daemon_set(cluster: &Cluster, set: &DaemonSet) -> Result<Component, Error> {
    let status = set.status.clone().unwrap_or_default();
    let (wanted, available) = (status.desired_number_scheduled, status.number_available.unwrap_or(0));
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let state = if status.observed_generation < set.metadata.generation {
        Err(NotReady::NotObserved)
    } else if updated < wanted {
        Err(NotReady::NodesUpdating { updated, wanted, available })
    } else if wanted == 0 || available < wanted {
        Err(NotReady::NodesUnavailable { available, wanted })
    } else {
        Ok(format!("available on {available} of {wanted} nodes"))
    };
    let mut component = Component::new(title("daemonset", None, &set.name_any()), state);
    if !component.ready {
        let selector = set.spec.as_ref().map(|spec| &spec.selector);
        component.diagnosis = of_pods(cluster, &set.namespace().unwrap_or_default(), selector).await?;
    }
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_by_their_names() {
        let text = "# TYPE otlp_gate_policy_revision gauge\notlp_gate_policy_revision{} 7\n";
        assert_eq!(Metrics::read(text), Metrics { revision: Some(7), foreign_certificates: 0 });
        let text = format!("{text}envoy_otlp_gate_foreign_client_cert_headers_total{{}} 3\n");
        assert_eq!(Metrics::read(&text), Metrics { revision: Some(7), foreign_certificates: 3 });
        assert_eq!(Metrics::read(""), Metrics::default());
    }
}
