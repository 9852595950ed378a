//! Envoy Gateway: an EnvoyExtensionPolicy with the filter, and policies for the connections of clients and to the
//! backend.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::Serialize;
use serde_json::{Value, json};

use super::certificates::{client_ca_config_map, client_cas_by_hand, server_by_hand, server_secret};
use super::native_module::DynamicModule;
use super::{
    INTERNAL_ANNOTATION, MODULE_ANNOTATION, PolicyObject, Provider, TargetRef, UserObject, Workload,
    backend_tls, native_module, quota_engine,
};
use crate::config::{AccessLog, FilterHost};
use crate::envoy::{access_log, bounds, native_runtime, stats_tags};
use crate::error::Error;
use crate::model::{
    BackendTls, Extension, Installation, Names, Object, ProviderSettings, plugin_config, pod_settings, yaml,
};
use crate::module::Location;
use crate::monitoring::{Job, Target};

const API_VERSION: &str = "gateway.envoyproxy.io/v1alpha1";
/// Where Envoy Gateway runs itself and, unless it is configured otherwise, the proxies.
const SYSTEM_NAMESPACE: &str = "envoy-gateway-system";

/// Where it is by `gateway.host`.
const POLICIES: &[&str] = &["/spec/wasm/0/config", "/spec/dynamicModule/0/config"];

/// The kind of object with the policy.
pub(super) const EXTENSION_POLICY: PolicyObject =
    PolicyObject { api_version: API_VERSION, kind: "EnvoyExtensionPolicy", policy: POLICIES };

#[derive(Debug)]
pub(super) struct EnvoyGateway;

impl Provider for EnvoyGateway {
    fn title(&self) -> &'static str {
        "Envoy Gateway"
    }

    fn control_plane(&self) -> (&'static str, &'static str) {
        ("control-plane=envoy-gateway", "envoy-gateway")
    }

    fn class(&self) -> &'static str {
        "eg"
    }

    fn class_hint(&self) -> &'static str {
        "install Envoy Gateway and create the class, which its chart does not (see docs/get-started/envoy-gateway.md)"
    }

    fn settings(&self, installation: &Installation<'_>) -> ProviderSettings {
        let names = &installation.names;
        ProviderSettings {
            class: self.class(),
            parameters: GatewayInfrastructureParametersRef {
                group: "gateway.envoyproxy.io".to_owned(),
                kind: "EnvoyProxy".to_owned(),
                name: names.gateway.clone(),
            },
            listener_options: BTreeMap::new(),
            // The ClientTrafficPolicy refers to the client CA, because it takes a revocation list as well.
            client_ca: None,
            proxies: proxies(names),
            collector_labels: BTreeMap::new(),
        }
    }

    fn workload(&self, names: &Names) -> Workload {
        let label = |end: &str, value: &str| format!("gateway.envoyproxy.io/owning-gateway-{end}={value}");
        Workload {
            selector: format!("{},{}", label("name", &names.gateway), label("namespace", &names.namespace)),
            // Envoy Gateway's own namespace or the Gateway's, depending on its configuration.
            namespace: None,
            stats_port: 19001,
        }
    }

    fn pod_annotations(&self, installation: &Installation<'_>) -> Vec<(&'static str, String)> {
        let module = (MODULE_ANNOTATION, installation.module.source());
        // Envoy Gateway itself gives running proxies the certificates for the Collector, but not those for the engine.
        let internal =
            installation.internal_digest().filter(|_| installation.config.deployed_engine().is_some());
        [module].into_iter().chain(internal.map(|it| (INTERNAL_ANNOTATION, it))).collect()
    }

    fn proxy_namespaces(&self, names: &Names) -> Vec<String> {
        let mut all = vec![SYSTEM_NAMESPACE.to_owned(), names.namespace.clone()];
        all.dedup();
        all
    }

    fn target(&self, installation: &Installation<'_>) -> Target {
        let names = &installation.names;
        Target {
            job: Job::Gateway,
            namespaces: self.proxy_namespaces(names),
            labels: proxy_labels(names),
            port: ("metrics", 19001),
            path: "/stats/prometheus",
        }
    }

    fn public_ports(&self, installation: &Installation<'_>) -> Vec<u16> {
        let listeners = &installation.config.gateway.listeners;
        // Proxies do not run as root: for a privileged port they listen on another one.
        [listeners.grpc.get(), listeners.http.get()].map(|it| if it < 1024 { it + 10_000 } else { it }).into()
    }

    fn backend_ca_namespace(&self, _: &Names, tls: &BackendTls) -> String {
        // A BackendTLSPolicy is in the Service's namespace, and refers to objects there.
        tls.namespace.clone()
    }

    fn policy_object(&self, _: Extension) -> PolicyObject {
        EXTENSION_POLICY
    }

    fn objects(&self, installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
        let names = &installation.names;
        let policy =
            |kind: &str, spec: Value| Object::custom(API_VERSION, kind, names.metadata(&names.gateway), spec);
        let mut objects = Vec::new();
        if let Some(server) = &installation.certificates.server {
            objects.push(server_secret(names, server, None)?);
        }
        objects.extend(client_ca_config_map(installation)?);
        objects.push(policy("EnvoyProxy", envoy_proxy(installation)?)?);
        if let Some(tls) = installation.backend_tls() {
            objects.push(backend_tls::policy(installation, &tls)?);
        }
        objects.push(policy("ClientTrafficPolicy", typed(&ClientTrafficPolicy::of(installation))?)?);
        objects.push(policy("BackendTrafficPolicy", typed(&BackendTrafficPolicy::of(installation))?)?);
        objects.push(policy("EnvoyExtensionPolicy", typed(&EnvoyExtensionPolicy::of(installation)?)?)?);
        Ok(objects)
    }

    fn user_objects(&self, installation: &Installation<'_>, certs: &str) -> Vec<UserObject> {
        let server = installation.expects_server_certificate().then(|| server_by_hand(installation, certs));
        server.into_iter().chain(client_cas_by_hand(installation, certs)).collect()
    }
}

/// The labels of the gateway's proxies.
fn proxy_labels(names: &Names) -> BTreeMap<String, String> {
    let label =
        |end: &str, value: &str| (format!("gateway.envoyproxy.io/owning-gateway-{end}"), value.to_owned());
    [label("name", &names.gateway), label("namespace", &names.namespace)].into()
}

/// Selects the gateway's proxies, in Envoy Gateway's namespace or in the Gateway's.
fn proxies(names: &Names) -> NetworkPolicyPeer {
    let namespaces = LabelSelectorRequirement {
        key: "kubernetes.io/metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(EnvoyGateway.proxy_namespaces(names)),
    };
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(proxy_labels(names)),
            ..LabelSelector::default()
        }),
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![namespaces]),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn typed(spec: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(spec).map_err(|e| Error::failed(format_args!("cannot write JSON: {e}")))
}

/// A size in whole mebibytes, as Kubernetes writes quantities.
fn size(bytes: u32) -> String {
    format!("{}Mi", bytes >> 20)
}

/// The EnvoyProxy: the proxies' Deployment and Envoy's bootstrap, with the tags of the filter's metrics.
fn envoy_proxy(installation: &Installation<'_>) -> Result<Value, Error> {
    let replicas = installation.config.gateway.replicas.get();
    // No policy of Envoy Gateway sets this limit. Envoy reads its default from this runtime key.
    let mut runtime = json!({"envoy.reloadable_features.max_request_headers_size_kb": bounds::HEADERS_KIB});
    if installation.config.gateway.host == FilterHost::Native {
        pod_settings::merge(native_runtime(), &mut runtime);
    }
    let mut bootstrap = json!({
        "stats_config": {"stats_tags": stats_tags()},
        "layered_runtime": {"layers": [{"name": "otlp_gate", "static_layer": runtime}]},
    });
    let engine = installation.quota_engine();
    if let (Some(engine), Some(bootstrap)) = (&engine, bootstrap.as_object_mut()) {
        // An EnvoyPatchPolicy could add it without new pods, but is disabled by default. Merging appends to lists.
        let clusters = json!({"clusters": [quota_engine::cluster(engine)]});
        bootstrap.insert("static_resources".to_owned(), clusters);
    }
    let bootstrap = yaml(&bootstrap)?;
    // Envoy Gateway's startup probe runs every 10 s, so a new proxy would be ready up to 10 s late. The total time
    // until the probe fails stays 5 minutes.
    let startup = ["envoy", "shutdown-manager"]
        .map(|name| json!({"name": name, "startupProbe": {"periodSeconds": 1, "failureThreshold": 300}}));
    // A running proxy that fetches a new module continues to run the old one: Envoy's createWasm
    // (source/extensions/common/wasm/wasm.cc) names a VM before it has the code, so two fetched modules get the same
    // VM. The annotation changes with the module and causes a rollout.
    let annotations: BTreeMap<_, _> = EnvoyGateway.pod_annotations(installation).into_iter().collect();
    let mut template = json!({"spec": {"containers": startup}});
    if let Some(engine) = &engine {
        pod_settings::merge(quota_engine::pod_patch(engine, "envoy"), &mut template);
    }
    let settings = &installation.config.gateway.pod;
    if !settings.is_default() {
        let patch = pod_settings::patch(settings, "envoy", &proxy_labels(&installation.names));
        pod_settings::merge(patch, &mut template);
    }
    let native = native_module::image(installation)?;
    if let Some(image) = &native {
        pod_settings::merge(native_module::pod_patch(image)?, &mut template);
    }
    let mut kubernetes = json!({"envoyDeployment": {
        "replicas": replicas,
        "pod": {"annotations": annotations},
        "patch": {"type": "StrategicMerge", "value": {"spec": {"template": template}}},
    }});
    if let (Some(image), Some(deployment)) = (&native, kubernetes.pointer_mut("/envoyDeployment")) {
        pod_settings::merge(json!({"container": {"image": image}}), deployment);
    }
    let filter = if native.is_some() { "dynamic_modules" } else { "wasm" };
    if let (true, Some(kubernetes)) = (replicas > 1, kubernetes.as_object_mut()) {
        kubernetes.insert("envoyPDB".to_owned(), json!({"minAvailable": 1}));
    }
    let mut proxy = json!({
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        "bootstrap": {"type": "Merge", "value": bootstrap},
        // By default Envoy Gateway puts the buffer filter before the gate's.
        "filterOrder": [
            {"name": "envoy.filters.http.buffer", "after": format!("envoy.filters.http.{filter}")},
        ],
    });
    if let (true, Some(proxy)) = (native.is_some(), proxy.as_object_mut()) {
        proxy.insert("dynamicModules".to_owned(), native_module::registration());
    }
    if let (Some(family), Some(proxy)) = (installation.config.gateway.ip_family, proxy.as_object_mut()) {
        proxy.insert("ipFamily".to_owned(), json!(family));
    }
    if let (Some(log), Some(proxy)) =
        (access_log(installation.config.gateway.access_log), proxy.as_object_mut())
    {
        proxy.insert("telemetry".to_owned(), json!({"accessLog": {"settings": log}}));
    }
    let client = installation.backend_tls().and_then(|it| it.client);
    if let (Some(secret), Some(proxy)) = (client, proxy.as_object_mut()) {
        let certificate = json!({"group": "", "kind": "Secret", "name": secret});
        proxy.insert("backendTLS".to_owned(), json!({"clientCertificateRef": certificate}));
    }
    Ok(proxy)
}

/// The proxies' access logs; none if the gate has no log of its own. A list replaces Envoy Gateway's own log, so with a
/// condition that log is not written either.
fn access_log(log: AccessLog) -> Option<Value> {
    let mut setting = json!({
        "format": {"type": "JSON", "json": access_log::fields()},
        "sinks": [{"type": "File", "file": {"path": "/dev/stdout"}}],
    });
    if let (Some(condition), Some(setting)) = (access_log::condition(log), setting.as_object_mut()) {
        setting.insert("matches".to_owned(), json!([condition]));
    }
    (log != AccessLog::Off).then(|| json!([setting]))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientTrafficPolicy {
    target_refs: Vec<TargetRef>,
    tls: ClientTls,
    timeout: Value,
    connection: Connection,
    http2: Http2,
    headers: Headers,
    path: Value,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "xForwardedClientCert")]
    certificate: ForwardedCertificate,
    #[serde(rename = "requestID")]
    request_id: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ForwardedCertificate {
    mode: &'static str,
    cert_details_to_add: &'static [&'static str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientTls {
    min_version: &'static str,
    client_validation: ClientValidation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientValidation {
    optional: bool,
    ca_certificate_refs: Vec<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl: Option<Crl>,
}

#[derive(Debug, Serialize)]
struct Crl {
    refs: Vec<ObjectRef>,
}

#[derive(Debug, Clone, Serialize)]
struct ObjectRef {
    group: &'static str,
    kind: &'static str,
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    buffer_limit: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http2 {
    initial_stream_window_size: String,
    initial_connection_window_size: String,
    max_concurrent_streams: u32,
}

impl ClientTrafficPolicy {
    fn of(installation: &Installation<'_>) -> Self {
        let names = &installation.names;
        let cas = installation.client_ca_objects().into_iter();
        let cas: Vec<_> = cas.map(|(kind, name)| ObjectRef { group: "", kind, name }).collect();
        let crl = installation.has_revocations().then(|| Crl { refs: cas.clone() });
        // Which CA signed a certificate is found by the intermediate CAs that the client presents.
        let cert_details_to_add: &[_] =
            if installation.tells_cas_apart() { &["Cert", "Chain"] } else { &["Cert"] };
        let mode = if installation.config.trusted_hops.is_empty() { "SanitizeSet" } else { "AppendForward" };
        ClientTrafficPolicy {
            target_refs: vec![TargetRef::gateway(names)],
            // Without `session`, Envoy Gateway disables session resumption.
            tls: ClientTls {
                min_version: "1.2",
                client_validation: ClientValidation { optional: false, ca_certificate_refs: cas, crl },
            },
            timeout: json!({
                "tcp": {"tlsHandshakeTimeout": bounds::HANDSHAKE},
                "http": {
                    "requestReceivedTimeout": bounds::REQUEST,
                    "streamIdleTimeout": bounds::STREAM_IDLE,
                    "idleTimeout": bounds::IDLE,
                },
            }),
            // With the defaults of 32 KiB and 64 KiB, a batch of telemetry takes many round trips.
            connection: Connection { buffer_limit: size(bounds::BUFFER) },
            http2: Http2 {
                initial_stream_window_size: size(bounds::BUFFER),
                initial_connection_window_size: size(bounds::CONNECTION_WINDOW),
                max_concurrent_streams: bounds::STREAMS,
            },
            // The filter reads the client's certificate and the identities that trusted hops forward from this header,
            // and removes it.
            headers: Headers {
                certificate: ForwardedCertificate { mode, cert_details_to_add },
                request_id: "Disable",
            },
            // By default Envoy Gateway redirects such paths. The filter and the routes need the path as the client sent
            // it.
            path: json!({"escapedSlashesAction": "KeepUnchanged", "disableMergeSlashes": true}),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendTrafficPolicy {
    target_refs: Vec<TargetRef>,
    timeout: Timeout,
    request_buffer: RequestBuffer,
    connection: Connection,
    circuit_breaker: CircuitBreaker,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CircuitBreaker {
    max_connections: u32,
    max_pending_requests: u32,
    max_parallel_requests: u32,
    max_parallel_retries: u32,
}

#[derive(Debug, Serialize)]
struct RequestBuffer {
    limit: String,
}

#[derive(Debug, Serialize)]
struct Timeout {
    http: HttpTimeout,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpTimeout {
    request_timeout: &'static str,
}

impl BackendTrafficPolicy {
    fn of(installation: &Installation<'_>) -> Self {
        // Envoy's field has 32 bits.
        let limit = installation.largest_message().min(u32::MAX.into());
        BackendTrafficPolicy {
            target_refs: vec![TargetRef::gateway(&installation.names)],
            // With Envoy's default of 15 s, exports to a slow backend would fail while the client still waits.
            timeout: Timeout { http: HttpTimeout { request_timeout: "60s" } },
            // Envoy's buffer filter after the gate's filter, for the reason given in `envoy::bootstrap`. There it gets
            // the body in one piece of any size. Should it ever come first, it must accept what the gate's filter
            // accepts.
            request_buffer: RequestBuffer { limit: limit.to_string() },
            connection: Connection { buffer_limit: size(bounds::BUFFER) },
            circuit_breaker: CircuitBreaker {
                max_connections: bounds::BREAKER,
                max_pending_requests: bounds::BREAKER,
                max_parallel_requests: bounds::BREAKER,
                max_parallel_retries: bounds::BREAKER,
            },
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvoyExtensionPolicy {
    target_refs: Vec<TargetRef>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wasm: Vec<Wasm>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_module: Vec<DynamicModule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wasm {
    name: &'static str,
    #[serde(rename = "rootID")]
    root_id: &'static str,
    fail_open: bool,
    code: Code,
    config: Value,
    /// The variables of the proxy's environment that the filter may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Code {
    Image {
        image: Source,
    },
    #[serde(rename = "HTTP")]
    Http {
        http: Source,
    },
}

#[derive(Debug, Serialize)]
struct Source {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl EnvoyExtensionPolicy {
    fn of(installation: &Installation<'_>) -> Result<Self, Error> {
        let target_refs = vec![TargetRef::gateway(&installation.names)];
        let config = plugin_config(&installation.policy, &installation.module, installation.extension.kind)?;
        if native_module::image(installation)?.is_some() {
            let dynamic_module = vec![DynamicModule::new(config)];
            return Ok(EnvoyExtensionPolicy { target_refs, wasm: Vec::new(), dynamic_module });
        }
        let code = match &installation.module {
            Location::ConfigMap { .. } => {
                return Err(Error::failed(
                    "Envoy Gateway loads the filter's module from a registry or a web server only",
                )
                .hint("set `gateway.module.url` in the config, or `--module oci://REGISTRY/IMAGE:TAG`"));
            }
            Location::Oci { image, sha256 } => {
                Code::Image { image: Source { url: image.clone(), sha256: sha256.clone() } }
            }
            Location::Http { url, sha256 } => {
                Code::Http { http: Source { url: url.clone(), sha256: Some(sha256.clone()) } }
            }
        };
        Ok(EnvoyExtensionPolicy {
            target_refs,
            dynamic_module: Vec::new(),
            wasm: vec![Wasm {
                name: "otlp-gate",
                root_id: "otlp-gate",
                fail_open: false,
                code,
                config,
                env: installation
                    .quota_engine()
                    .and_then(|it| it.credentials)
                    .map(|_| json!({"hostKeys": quota_engine::VARIABLES})),
            }],
        })
    }
}
