//! Istio: a WasmPlugin or TrafficExtension with the filter, an EnvoyFilter with the bounds, and an overlay on the
//! gateway's Deployment that mounts the module.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde_json::{Value, json};

use super::backend_tls::{self, FOLDER, GATEWAY_LABEL};
use super::certificates::{
    client_ca_config_map, client_cas_by_hand, server_by_hand, server_secret, trust_files,
};
use super::{
    INTERNAL_ANNOTATION, MODULE_ANNOTATION, PolicyObject, Provider, TargetRef, UserObject, Workload,
    quota_engine,
};
use crate::config::Backend;
use crate::envoy::access_log::access_log;
use crate::envoy::{METRIC_TAGS, bounds};
use crate::error::Error;
use crate::model::mesh::{self, DataPlaneMode};
use crate::model::{
    BackendTls, EXTENSION_API, Extension, ExtensionKind, Installation, Names, Object, ProviderSettings,
    plugin_config, pod_settings, yaml,
};
use crate::module::Location;
use crate::monitoring::{Job, Target};

/// Folder and file of the module in the gateway's pods.
const MODULE_FOLDER: &str = "/var/run/otlp-gate";
const MODULE_FILE: &str = "otlp-gate.wasm";

/// Envoy's names of its HTTP connection manager and router.
const MANAGER: &str = "envoy.filters.network.http_connection_manager";
const ROUTER: &str = "envoy.filters.http.router";

/// The kinds of objects with the policy.
pub(super) const WASM_PLUGIN: PolicyObject =
    PolicyObject { api_version: EXTENSION_API, kind: "WasmPlugin", policy: &["/spec/pluginConfig"] };
pub(super) const TRAFFIC_EXTENSION: PolicyObject = PolicyObject {
    api_version: EXTENSION_API,
    kind: "TrafficExtension",
    policy: &["/spec/wasm/pluginConfig"],
};

#[derive(Debug)]
pub(super) struct Istio;

impl Provider for Istio {
    fn title(&self) -> &'static str {
        "Istio"
    }

    fn control_plane(&self) -> (&'static str, &'static str) {
        ("app=istiod", "istiod")
    }

    fn class(&self) -> &'static str {
        "istio"
    }

    fn class_hint(&self) -> &'static str {
        "install Istio, which creates the class"
    }

    fn settings(&self, installation: &Installation<'_>) -> ProviderSettings {
        let names = &installation.names;
        let label = (GATEWAY_LABEL.to_owned(), names.gateway.clone());
        let (listener_options, client_ca) = if trust_is_in_server_secret(installation) {
            // Supported by every version. Istio then reads the client CA from the server's Secret.
            ([("gateway.istio.io/tls-terminate-mode".to_owned(), "MUTUAL".to_owned())].into(), None)
        } else {
            // With the option above, Istio uses the server's issuer as the client CA until it finds the client CA. With
            // a reference in the Gateway, which needs Istio 1.28, it accepts no client until then. An older version
            // ignores the reference and requests no certificate, so that the filter rejects every client. Istio takes
            // one reference only.
            (BTreeMap::new(), installation.client_ca_objects().into_iter().next())
        };
        ProviderSettings {
            class: self.class(),
            parameters: GatewayInfrastructureParametersRef {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                name: overlay_name(names),
            },
            listener_options,
            client_ca,
            proxies: NetworkPolicyPeer {
                pod_selector: Some(LabelSelector {
                    match_labels: Some([label].into()),
                    ..LabelSelector::default()
                }),
                ..NetworkPolicyPeer::default()
            },
            // A sidecar would need more privileges than the Collector's pod has, and a NetworkPolicy does not see the
            // sender of what ztunnel forwards.
            collector_labels: mesh::labels(DataPlaneMode::None),
        }
    }

    fn workload(&self, names: &Names) -> Workload {
        Workload {
            selector: format!("{GATEWAY_LABEL}={}", names.gateway),
            namespace: Some(names.namespace.clone()),
            stats_port: 15090,
        }
    }

    fn pod_annotations(&self, installation: &Installation<'_>) -> Vec<(&'static str, String)> {
        pod_annotations(installation)
    }

    fn proxy_namespaces(&self, names: &Names) -> Vec<String> {
        vec![names.namespace.clone()]
    }

    fn target(&self, installation: &Installation<'_>) -> Target {
        let names = &installation.names;
        Target {
            job: Job::Gateway,
            namespaces: vec![names.namespace.clone()],
            labels: [(GATEWAY_LABEL.to_owned(), names.gateway.clone())].into(),
            port: ("http-envoy-prom", 15090),
            path: "/stats/prometheus",
        }
    }

    fn public_ports(&self, installation: &Installation<'_>) -> Vec<u16> {
        let listeners = &installation.config.gateway.listeners;
        // Load balancers check a gateway's health at Istio's status port.
        vec![listeners.grpc.get(), listeners.http.get(), 15021]
    }

    fn backend_ca_namespace(&self, names: &Names, _: &BackendTls) -> String {
        // The gateway's pods mount it.
        names.namespace.clone()
    }

    fn policy_object(&self, extension: Extension) -> PolicyObject {
        match if extension.replaces { extension.kind.other() } else { extension.kind } {
            ExtensionKind::WasmPlugin => WASM_PLUGIN,
            ExtensionKind::TrafficExtension => TRAFFIC_EXTENSION,
        }
    }

    fn objects(&self, installation: &Installation<'_>) -> Result<Vec<Object>, Error> {
        let mut objects = Vec::new();
        let in_secret = trust_is_in_server_secret(installation);
        if let Some(server) = &installation.certificates.server {
            let clients = installation.certificates.clients.as_ref().filter(|_| in_secret);
            objects.push(server_secret(&installation.names, server, clients)?);
        }
        if !in_secret {
            objects.extend(client_ca_config_map(installation)?);
        }
        if let (Location::ConfigMap { bytes, .. }, Some(name)) =
            (&installation.module, module_name(installation))
        {
            objects.push(Object::builtin(&module(installation, &name, bytes))?);
        }
        objects.push(overlay(installation)?);
        if let Some(tls) = installation.backend_tls() {
            objects.push(backend_tls::destination_rule(installation, &tls)?);
        } else if let Backend::Collector(_) = installation.config.backend {
            let name = installation.names.collector();
            objects.push(mesh::plain_text(
                &name,
                &installation.names.namespace,
                installation.names.metadata(&name),
            )?);
        }
        objects.extend(backend_tls::mesh_rule(installation)?);
        objects.push(extension(installation)?);
        objects.push(envoy_filter(installation)?);
        Ok(objects)
    }

    fn user_objects(&self, installation: &Installation<'_>, certs: &str) -> Vec<UserObject> {
        if !trust_is_in_server_secret(installation) {
            let server =
                installation.expects_server_certificate().then(|| server_by_hand(installation, certs));
            return server.into_iter().chain(client_cas_by_hand(installation, certs)).collect();
        }
        let (name, namespace) = (installation.names.server(), &installation.names.namespace);
        vec![UserObject {
            object: format!("secret/{name}"),
            command: format!(
                "kubectl create secret generic {name} -n {namespace} --type=kubernetes.io/tls \
                 --from-file=tls.crt={certs}/server.crt --from-file=tls.key={certs}/server.key \
                 {}",
                trust_files(installation, certs)
            ),
        }]
    }
}

/// Whether Istio reads the client CA and its revocation list from the server's Secret: both come from a folder. In a
/// Secret of cert-manager, `ca.crt` is the server's issuer.
fn trust_is_in_server_secret(installation: &Installation<'_>) -> bool {
    installation.config.takes_server_certificate()
        && installation.config.client_ca_config_maps().next().is_none()
}

fn overlay_name(names: &Names) -> String {
    format!("{}-deployment", names.gateway)
}

/// The name of the ConfigMap with the module, if the module is in a ConfigMap. The name changes with the module, so
/// that a new module causes a rollout and no running pod's module changes.
fn module_name(installation: &Installation<'_>) -> Option<String> {
    let Location::ConfigMap { sha256, .. } = &installation.module else { return None };
    let short = sha256.get(..12).unwrap_or(sha256);
    Some(format!("{}-module-{short}", installation.names.gateway))
}

/// Annotations that cause a rollout when pods need another module, or files that the kubelet updates late in running
/// pods.
fn pod_annotations(installation: &Installation<'_>) -> Vec<(&'static str, String)> {
    let module = module_name(installation).map(|it| (MODULE_ANNOTATION, it));
    let internal = installation.internal_digest().map(|it| (INTERNAL_ANNOTATION, it));
    module.into_iter().chain(internal).collect()
}

fn module(installation: &Installation<'_>, name: &str, bytes: &[u8]) -> ConfigMap {
    ConfigMap {
        metadata: installation.names.metadata(name),
        binary_data: Some([(MODULE_FILE.to_owned(), ByteString(bytes.to_owned()))].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// The ConfigMap with patches for the Deployment and PodDisruptionBudget that Istio creates for the Gateway.
fn overlay(installation: &Installation<'_>) -> Result<Object, Error> {
    let replicas = installation.config.gateway.replicas.get();
    // The filter reads the client's certificate and the identities that trusted hops forward from this header, and
    // removes it.
    let forwarded =
        if installation.config.trusted_hops.is_empty() { "SANITIZE_SET" } else { "APPEND_FORWARD" };
    let mut proxy_config = json!({
        "extraStatTags": METRIC_TAGS,
        "gatewayTopology": {"forwardClientCertDetails": forwarded},
        // By default there is no limit.
        "proxyMetadata": {"ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS": bounds::CONNECTIONS.to_string()},
    });
    if let (Some(_), Some(proxy_config)) = (&installation.config.monitoring, proxy_config.as_object_mut()) {
        // Envoy's own statistics that alarms and dashboards use. By default Istio leaves them out.
        let regexes = ["http\\..*\\.downstream_rq_time", ".*\\.ssl\\.certificate\\..*"];
        proxy_config.insert("proxyStatsMatcher".to_owned(), json!({"inclusionRegexps": regexes}));
    }
    let proxy_config = yaml(&proxy_config)?;
    let mut annotations = json!({"proxy.istio.io/config": proxy_config});
    let mut pod = json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}});
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    if let Some(module) = module_name(installation) {
        volumes.push(json!({"name": "otlp-gate", "configMap": {"name": module}}));
        mounts.push(json!({"name": "otlp-gate", "mountPath": MODULE_FOLDER, "readOnly": true}));
    }
    if let Some(tls) = installation.backend_tls() {
        volumes.push(json!(tls.volume("otlp-gate-backend")));
        mounts.push(json!({"name": "otlp-gate-backend", "mountPath": FOLDER, "readOnly": true}));
    }
    if let (false, Some(pod)) = (volumes.is_empty(), pod.as_object_mut()) {
        pod.insert("volumes".to_owned(), volumes.into());
        pod.insert("containers".to_owned(), json!([{"name": "istio-proxy", "volumeMounts": mounts}]));
    }
    if let Some(annotations) = annotations.as_object_mut() {
        let own = pod_annotations(installation).into_iter();
        annotations.extend(own.map(|(key, value)| (key.to_owned(), value.into())));
    }
    let mut template = json!({"metadata": {"annotations": annotations}, "spec": pod});
    if let Some(engine) = installation.quota_engine() {
        pod_settings::merge(quota_engine::pod_patch(&engine, "istio-proxy"), &mut template);
    }
    let settings = &installation.config.gateway.pod;
    if !settings.is_default() {
        let selector = [(GATEWAY_LABEL.to_owned(), installation.names.gateway.clone())].into();
        pod_settings::merge(pod_settings::patch(settings, "istio-proxy", &selector), &mut template);
    }
    let deployment = json!({"spec": {"replicas": replicas, "template": template}});
    let mut data: BTreeMap<String, String> = [("deployment".to_owned(), yaml(&deployment)?)].into();
    if replicas > 1 {
        data.insert("podDisruptionBudget".to_owned(), yaml(&json!({"spec": {"maxUnavailable": 1}}))?);
    }
    Object::builtin(&ConfigMap {
        metadata: installation.names.metadata(&overlay_name(&installation.names)),
        data: Some(data),
        ..ConfigMap::default()
    })
}

/// A WasmPlugin or, from Istio 1.30 on, a TrafficExtension. Istio translates the former to the latter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtensionSpec {
    target_refs: Vec<TargetRef>,
    #[serde(flatten)]
    filter: Filter,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Filter {
    WasmPlugin(Wasm),
    TrafficExtension { wasm: Wasm },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wasm {
    plugin_name: &'static str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    fail_strategy: &'static str,
    plugin_config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm_config: Option<Value>,
}

/// The object with the filter.
fn extension(installation: &Installation<'_>) -> Result<Object, Error> {
    let kind = installation.extension.kind;
    let (url, sha256) = match &installation.module {
        Location::ConfigMap { .. } => (format!("file://{MODULE_FOLDER}/{MODULE_FILE}"), None),
        Location::Oci { image, sha256 } => (format!("oci://{image}"), sha256.clone()),
        Location::Http { url, sha256 } => (url.clone(), Some(sha256.clone())),
    };
    let wasm = Wasm {
        plugin_name: "otlp-gate",
        url,
        sha256,
        // A VM that failed is restarted. Until then the proxy rejects all requests.
        fail_strategy: "FAIL_RELOAD",
        plugin_config: plugin_config(&installation.policy, &installation.module, kind)?,
        vm_config: vm_config(installation),
    };
    let spec = ExtensionSpec {
        target_refs: vec![TargetRef::gateway(&installation.names)],
        filter: match kind {
            ExtensionKind::WasmPlugin => Filter::WasmPlugin(wasm),
            ExtensionKind::TrafficExtension => Filter::TrafficExtension { wasm },
        },
    };
    let metadata = installation.names.metadata(&installation.names.gateway);
    Object::custom(EXTENSION_API, kind.name(), metadata, spec)
}

/// The variables of the proxy's environment that the filter may read: the credentials for the engine of shared quotas.
fn vm_config(installation: &Installation<'_>) -> Option<Value> {
    installation.quota_engine()?.credentials?;
    let variable = |name: &str| json!({"name": name, "valueFrom": "HOST"});
    Some(json!({"env": quota_engine::VARIABLES.map(variable)}))
}

/// The name that Istio from 1.30 on gives the filter of the gate's object in Envoy's filter chain (Istio's
/// pilot/pkg/model/extensions.go and pilot/pkg/config/kube/extensions/translate.go).
fn filter_name(names: &Names, kind: ExtensionKind) -> String {
    let object = format!("extensions.istio.io/trafficextension/{}.{}", names.namespace, names.gateway);
    match kind {
        ExtensionKind::WasmPlugin => format!("{object}~istio-translated-wasmplugin"),
        ExtensionKind::TrafficExtension => object,
    }
}

/// Patches that put the filter of the gate's object into the chain exactly once, whatever objects istiod has seen: they
/// remove the filters of both kinds, and insert a reference to the one that is desired. While istiod has no such
/// object, Envoy keeps its previous listeners, and a new proxy does not become ready.
///
/// So there is never a moment without the filter, nor with two, when one kind replaces the other: istiod gets the
/// objects and this EnvoyFilter in any order. A TrafficExtension is always pinned. Otherwise the gateway would have no
/// filter after a downgrade to an istiod that ignores it.
fn pinned(installation: &Installation<'_>, patch: impl Fn(&str, &str, Value) -> Value) -> Vec<Value> {
    let (names, extension) = (&installation.names, installation.extension);
    if extension.kind == ExtensionKind::WasmPlugin && !extension.replaces {
        return Vec::new();
    }
    let remove = |kind| patch(&filter_name(names, kind), "REMOVE", Value::Null);
    // The same as Istio's own reference (pilot/pkg/networking/core/extension/extensionfilter.go).
    let reference = json!({
        "name": filter_name(names, extension.kind),
        "config_discovery": {
            "config_source": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "type_urls": [
                "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            ],
        },
    });
    vec![
        remove(ExtensionKind::WasmPlugin),
        remove(ExtensionKind::TrafficExtension),
        patch(ROUTER, "INSERT_BEFORE", reference),
    ]
}

/// The EnvoyFilter with what Istio has no setting for: the bounds that every gateway has, Envoy's buffer filter between
/// the gate's filter and the router, for the reason given in `envoy::bootstrap`, and the engine of shared quotas.
fn envoy_filter(installation: &Installation<'_>) -> Result<Object, Error> {
    let names = &installation.names;
    let extension = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let filter = |filter: Value| json!({"filterChain": {"filter": filter}});
    let manager = filter(json!({"name": MANAGER}));
    let router = filter(json!({"name": MANAGER, "subFilter": {"name": ROUTER}}));
    let mut connections = json!({
        "@type": extension("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": bounds::HEADERS_KIB,
        "request_timeout": bounds::REQUEST,
        "stream_idle_timeout": bounds::STREAM_IDLE,
        "common_http_protocol_options": {"idle_timeout": bounds::IDLE},
        "http2_protocol_options": {
            "max_concurrent_streams": bounds::STREAMS,
            "initial_stream_window_size": bounds::BUFFER,
            "initial_connection_window_size": bounds::CONNECTION_WINDOW,
        },
    });
    if let (true, Some(connections)) = (installation.tells_cas_apart(), connections.as_object_mut()) {
        // Which CA signed a certificate is found by the intermediate CAs that the client presents.
        connections.insert("set_current_client_cert_details".to_owned(), json!({"chain": true}));
    }
    let access_log = access_log(installation.config.gateway.access_log, Some("/dev/stdout"));
    if let (Some(log), Some(connections)) = (access_log, connections.as_object_mut()) {
        // Merged, it is added to those that Istio has configured.
        connections.insert("access_log".to_owned(), json!([log]));
    }
    let patch = |apply_to: &str, listener: &Value, operation: &str, value: Value| {
        json!({
            "applyTo": apply_to,
            "match": {"context": "GATEWAY", "listener": listener},
            "patch": {"operation": operation, "value": value},
        })
    };
    // Istio inserts the filters of its extensions before it applies these patches, in this order.
    let bounds_patches = [
        patch(
            "HTTP_FILTER",
            &router,
            "INSERT_BEFORE",
            json!({
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": extension("filters.http.buffer.v3.Buffer"),
                    // The buffer filter gets the body in one piece of any size, so its limit never applies. The value
                    // is Envoy's own buffer limit, because the router keeps bodies of up to this size for Istio's
                    // retries.
                    "max_request_bytes": bounds::BUFFER,
                },
            }),
        ),
        patch(
            "HTTP_FILTER",
            &router,
            "MERGE",
            json!({
                "name": ROUTER,
                "typed_config": {"@type": extension("filters.http.router.v3.Router"), "suppress_envoy_headers": true},
            }),
        ),
        // Istio ignores all other fields of a patch with a transport socket (mergeTransportSocketListener).
        patch(
            "FILTER_CHAIN",
            &json!({}),
            "MERGE",
            json!({"transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": extension("transport_sockets.tls.v3.DownstreamTlsContext"),
                    // A resumed session skips the certificate validation, so an expired or revoked certificate would be
                    // accepted.
                    "disable_stateless_session_resumption": true,
                    "disable_stateful_session_resumption": true,
                    "common_tls_context": {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}},
                },
            }}),
        ),
        patch(
            "FILTER_CHAIN",
            &json!({}),
            "MERGE",
            json!({"transport_socket_connect_timeout": bounds::HANDSHAKE}),
        ),
        patch("LISTENER", &json!({}), "MERGE", json!({"per_connection_buffer_limit_bytes": bounds::BUFFER})),
        patch(
            "NETWORK_FILTER",
            &manager,
            "MERGE",
            json!({
                "name": MANAGER,
                "typed_config": connections,
            }),
        ),
    ];
    let of_filter = |name: &str, operation: &str, value: Value| {
        let listener = filter(json!({"name": MANAGER, "subFilter": {"name": name}}));
        let mut patch = patch("HTTP_FILTER", &listener, operation, value);
        if let (true, Some(patch)) = (operation == "REMOVE", patch.pointer_mut("/patch")) {
            *patch = json!({"operation": operation});
        }
        patch
    };
    let mut patches = pinned(installation, of_filter);
    patches.extend(bounds_patches);
    patches.extend(installation.quota_engine().map(|engine| {
        json!({
            "applyTo": "CLUSTER",
            "match": {"context": "GATEWAY"},
            "patch": {"operation": "ADD", "value": quota_engine::cluster(&engine)},
        })
    }));
    let spec = json!({
        // Up to 1.26, Istio applies an EnvoyFilter with `targetRefs` to every Gateway in the namespace.
        "workloadSelector": {"labels": {GATEWAY_LABEL: names.gateway}},
        "configPatches": patches,
    });
    Object::custom("networking.istio.io/v1alpha3", "EnvoyFilter", names.metadata(&names.gateway), spec)
}
