//! The status of a gate in the cluster, component by component.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use otlp_gate_core::gate::{ENGINE_ANSWERED, ENGINE_UP, FOREIGN_CERTIFICATES, POLICY_REVISION, REQUESTS};
use otlp_gate_core::policy::VERIFY_NAME;
use serde::Serialize;
use time::OffsetDateTime;

use super::api_error::api_error;
use super::bundles::Bundle;
use super::client::Cluster;
use super::conditions::{addresses, reader};
use super::diagnosis::{Diagnosis, ENGINE_ERRORS, WASM_ERRORS, of_deployment, of_pods, of_proxy};
use super::discovery::Discovery;
use super::not_ready::{Cause, NotReady};
use super::proxies::{is_running, list, proxy_metrics};
use super::server_certificate::ServerCertificate;
use crate::address::Address;
use crate::config::{Backend, Collector, Queue, TlsMode};
use crate::error::Error;
use crate::model::{Installation, Names, Object, revision, title};
use crate::output::rfc3339;
use crate::providers::{self, Provider, Workload};

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
    if config.deployed_engine().is_some() {
        status.components.push(quota_engine(cluster, names).await?);
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
    let workload = provider.workload(&installation.names);
    let annotations = provider.pod_annotations(installation);
    let found: Vec<Deployment> =
        list(cluster, &workload).await.map_err(|e| api_error("cannot list the gateway's Deployments", &e))?;
    let Some(found) = found.first() else {
        let why = NotReady::NoProxyDeployment { provider: provider.title() };
        return Ok(vec![Component::new("proxies".to_owned(), Err(why))]);
    };
    let namespace = found.namespace().unwrap_or_default();
    let mut components = vec![deployment(cluster, found).await?];
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let selected = ListParams::default().labels(&workload.selector);
    let pods = pods.list(&selected).await.map_err(|e| api_error("cannot list the gateway's pods", &e))?;
    let wanted = revision(&installation.policy, &installation.module, installation.extension.kind)?;
    let (mut running, mut current, mut outdated, mut unreadable) = (0, 0, None, None);
    let mut foreign = 0;
    let mut engine = EngineReports::default();
    for pod in pods.items.iter().filter(|pod| is_running(pod)) {
        running += 1;
        match metrics(cluster, &namespace, &pod.name_any(), workload.stats_port).await {
            Ok(metrics) => {
                foreign += metrics.foreign_certificates;
                engine.add(&metrics, pod);
                let same = metrics.revision == Some(wanted.number);
                if same && has_annotations(pod, &annotations) {
                    current += 1;
                } else {
                    outdated = Some(pod);
                }
            }
            Err(error) => unreadable = Some(error),
        }
    }
    // A user who may not read pods' metrics can still use the gate.
    let unknown = |why: &String| Ok(format!("unknown: the proxies' metrics cannot be read: {why}"));
    let shared = match &installation.quota_engine() {
        None => None,
        Some(of_config) => {
            let state = match &unreadable {
                Some(why) => unknown(why),
                None => engine.state(&of_config.address, OffsetDateTime::now_utc()),
            };
            let mut component = Component::new("quota engine".to_owned(), state);
            if let (false, Some(pod)) = (component.ready, engine.away) {
                component.diagnosis = of_proxy(cluster, pod, &ENGINE_ERRORS).await;
            }
            Some(component)
        }
    };
    let state = match (&unreadable, outdated) {
        (Some(why), _) => unknown(why),
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
        filter.diagnosis = of_proxy(cluster, pod, &WASM_ERRORS).await;
    }
    components.push(filter);
    components.extend(shared);
    Ok(components)
}

/// How many requests of the reserved client of `otlp-gate verify` each running proxy has had, by its pod.
///
/// # Errors
/// Why the proxies' metrics cannot be read.
pub(crate) async fn verify_requests(
    cluster: &Cluster,
    workload: &Workload,
) -> Result<BTreeMap<String, u64>, String> {
    let pods: Vec<Pod> = list(cluster, workload).await.map_err(|e| e.to_string())?;
    let mut all = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_running(pod)) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let text = proxy_metrics(cluster, &namespace, &name, workload.stats_port, REQUESTS).await?;
        let of_client = text.lines().filter(|line| line.contains(VERIFY_NAME));
        let counts = of_client.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        all.insert(name, counts.sum());
    }
    Ok(all)
}

/// Whether the pod has the module and the CAs that it is bound to.
fn has_annotations(pod: &Pod, wanted: &[(&str, String)]) -> bool {
    wanted.iter().all(|(key, value)| pod.annotations().get(*key) == Some(value))
}

/// What the filters of all proxies report of the engine of shared quotas.
#[derive(Debug, Default)]
struct EngineReports<'a> {
    running: u32,
    reached: u32,
    /// The latest answer that the proxy with the oldest one has got, in seconds since 1970.
    answered: Option<u64>,
    /// A proxy that does not reach it.
    away: Option<&'a Pod>,
}

impl<'a> EngineReports<'a> {
    fn add(&mut self, metrics: &Metrics, pod: &'a Pod) {
        self.running += 1;
        if metrics.engine_up == Some(1) {
            self.reached += 1;
            let answered = metrics.engine_answered.unwrap_or_default();
            self.answered = Some(self.answered.map_or(answered, |other| other.min(answered)));
        } else {
            self.away = Some(pod);
        }
    }

    fn state(&self, address: &Address, now: OffsetDateTime) -> Result<String, NotReady> {
        let &EngineReports { running, reached, answered, .. } = self;
        if running == 0 {
            return Err(NotReady::NoProxyRunning);
        }
        if reached < running {
            return Err(NotReady::EngineUnreachable { address: address.to_string(), reached, running });
        }
        let now = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let age = now.saturating_sub(answered.unwrap_or_default());
        Ok(format!("{address} reached by {reached} of {running} proxies, last answer {age} s ago"))
    }
}

/// What the filter of a proxy reports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metrics {
    /// The revision of its policy; none if it is not running yet.
    revision: Option<u64>,
    /// How many connections had an `x-forwarded-client-cert` that the proxy did not write.
    foreign_certificates: u64,
    /// Whether the engine of shared quotas answered last; none before the first call.
    engine_up: Option<u64>,
    /// When the engine of shared quotas answered last, in seconds since 1970.
    engine_answered: Option<u64>,
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
            engine_up: value(ENGINE_UP),
            engine_answered: value(ENGINE_ANSWERED),
        }
    }
}

/// What the filter of a proxy reports; nothing if it is not running yet.
async fn metrics(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Metrics, String> {
    // `%7C` is `|`.
    let names = [POLICY_REVISION, FOREIGN_CERTIFICATES, ENGINE_UP, ENGINE_ANSWERED].join("%7C");
    Ok(Metrics::read(&proxy_metrics(cluster, namespace, pod, port, &names).await?))
}

/// The Collector that otlp-gate deploys.
async fn collector(cluster: &Cluster, names: &Names, collector: &Collector) -> Result<Component, Error> {
    let mut component = workload(cluster, names, collector.queue).await?;
    if component.ready && collector.tls == TlsMode::Off {
        component.detail.push_str("; in plain text from the gateway (`tls: off`)");
    }
    Ok(component)
}

/// The engine of shared quotas that otlp-gate deploys.
async fn quota_engine(cluster: &Cluster, names: &Names) -> Result<Component, Error> {
    let (api, name) =
        (Api::<Deployment>::namespaced(cluster.client.clone(), &names.namespace), names.quotas());
    let found = api.get_opt(&name).await.map_err(|e| api_error("cannot read the quota engine", &e))?;
    match found {
        None => Ok(Component::new(title("deployment", None, &name), Err(NotReady::NotFound))),
        Some(found) => deployment(cluster, &found).await,
    }
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
        let expected = Metrics { revision: Some(7), ..Metrics::default() };
        assert_eq!(Metrics::read(text), expected);
        let text = format!("{text}envoy_otlp_gate_foreign_client_cert_headers_total{{}} 3\n");
        let expected = Metrics { foreign_certificates: 3, ..expected };
        assert_eq!(Metrics::read(&text), expected);
        let engine = "otlp_gate_quota_engine_up{} 1\notlp_gate_quota_engine_answered_seconds{} 90\n";
        let expected = Metrics { engine_up: Some(1), engine_answered: Some(90), ..expected };
        assert_eq!(Metrics::read(&format!("{text}{engine}")), expected);
        assert_eq!(Metrics::read(""), Metrics::default());
    }

    #[test]
    fn an_engine_is_ready_if_every_proxy_reaches_it() {
        let (address, pod) = ("valkey:6379".parse().unwrap(), Pod::default());
        let now = OffsetDateTime::from_unix_timestamp(100).unwrap();
        let state = |all: &[(Option<u64>, u64)]| {
            let mut engine = EngineReports::default();
            for (engine_up, answered) in all {
                let metrics =
                    Metrics { engine_up: *engine_up, engine_answered: Some(*answered), ..Metrics::default() };
                engine.add(&metrics, &pod);
            }
            engine.state(&address, now).map_err(|e| e.to_string())
        };
        let ready = "valkey:6379 reached by 2 of 2 proxies, last answer 7 s ago";
        assert_eq!(state(&[(Some(1), 99), (Some(1), 93)]), Ok(ready.to_owned()));
        for away in [None, Some(0)] {
            let found = state(&[(Some(1), 99), (away, 50)]).unwrap_err();
            assert!(found.starts_with("valkey:6379 reached by 1 of 2 proxies"), "{found}");
        }
        assert_eq!(state(&[]), Err("no proxy is running".to_owned()));
    }
}
