//! Istio: a WasmPlugin, and an overlay on the gateway's Deployment that mounts the module.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Expected, METRIC_TAGS, MODULE_ANNOTATION, Provider, TargetRef, Workload};
use crate::config::Backend;
use crate::envoy::bounds;
use crate::error::Error;
use crate::resources::mesh::{Part, labels as mesh_labels, plain_text};
use crate::resources::{ClientCa, Gate, Module, Names, Object, Server, plugin_config, yaml};

/// The folder in the gateway's pods that holds the module, and its file there.
const MODULE_FOLDER: &str = "/var/run/otlp-gate";
const MODULE_FILE: &str = "otlp-gate.wasm";

/// The label of a Gateway's pods that names it.
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

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

    fn class_cure(&self) -> &'static str {
        "install Istio, which makes it"
    }

    fn listener_options(&self, gate: &Gate<'_>) -> BTreeMap<String, String> {
        // Every version takes it. The clients' CA is then in the server's Secret.
        match gate.config.certificates.cert_manager {
            None => [("gateway.istio.io/tls-terminate-mode".to_owned(), "MUTUAL".to_owned())].into(),
            Some(_) => BTreeMap::new(),
        }
    }

    fn frontend_ca(&self, gate: &Gate<'_>) -> Option<(&'static str, String)> {
        // With the option above, Istio takes the server's issuer for the clients' as long as it has not found theirs. This
        // way, which needs Istio 1.28, it lets nobody in; and an older one, which does not know it, asks for no certificate,
        // so that the filter refuses everybody.
        gate.config.certificates.cert_manager.is_some().then(|| ("Secret", gate.names.client_trust()))
    }

    fn parameters(&self, names: &Names) -> GatewayInfrastructureParametersRef {
        GatewayInfrastructureParametersRef {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            name: overlay_name(names),
        }
    }

    fn proxies(&self, names: &Names) -> NetworkPolicyPeer {
        let label = (GATEWAY_LABEL.to_owned(), names.gateway.clone());
        NetworkPolicyPeer {
            pod_selector: Some(LabelSelector {
                match_labels: Some([label].into()),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        }
    }

    fn workload(&self, gate: &Gate<'_>) -> Workload {
        let names = &gate.names;
        Workload {
            selector: format!("{GATEWAY_LABEL}={}", names.gateway),
            namespace: Some(names.namespace.clone()),
            stats_port: 15090,
            module: module_name(gate),
        }
    }

    fn collector_labels(&self) -> BTreeMap<String, String> {
        // A sidecar would need more rights than the Collector's pod may have, and a NetworkPolicy does not see through
        // what ztunnel sends.
        mesh_labels(Part::None)
    }

    fn objects(&self, gate: &Gate<'_>) -> Result<Vec<Object>, Error> {
        let mut objects = Vec::new();
        if let (Some(server), Some(ca)) = (&gate.server, &gate.client_ca) {
            objects.push(server_secret(&gate.names, server, ca)?);
        }
        if let (Module::ConfigMap { bytes, .. }, Some(name)) = (&gate.module, module_name(gate)) {
            objects.push(Object::builtin(&module(gate, &name, bytes))?);
        }
        objects.push(overlay(gate)?);
        if let Backend::Collector(_) = gate.config.backend {
            let name = gate.names.collector();
            objects.push(plain_text(&name, &gate.names.namespace, gate.names.metadata(&name))?);
        }
        objects.push(envoy_filter(&gate.names)?);
        objects.push(wasm_plugin(gate)?);
        Ok(objects)
    }

    fn expected(&self, gate: &Gate<'_>, certs: &str) -> Vec<Expected> {
        let (name, namespace) = (gate.names.server(), &gate.names.namespace);
        vec![Expected {
            object: format!("secret/{name}"),
            command: format!(
                "kubectl create secret generic {name} -n {namespace} --type=kubernetes.io/tls \
                 --from-file=tls.crt={certs}/server.crt --from-file=tls.key={certs}/server.key \
                 --from-file=ca.crt={certs}/client-ca.crt --from-file=ca.crl={certs}/client.crl"
            ),
        }]
    }
}

/// The server's certificate and key beside the clients' CA and what it revoked, as Istio reads them.
fn server_secret(names: &Names, server: &Server, ca: &ClientCa) -> Result<Object, Error> {
    let data = [
        ("tls.crt", &server.certificate),
        ("tls.key", &server.key),
        ("ca.crt", &ca.certificates),
        ("ca.crl", &ca.revocations),
    ];
    Object::builtin(&Secret {
        metadata: names.metadata(&names.server()),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into()),
        ..Secret::default()
    })
}

fn overlay_name(names: &Names) -> String {
    format!("{}-deployment", names.gateway)
}

/// The name of the ConfigMap that holds the module, unless that comes from elsewhere. It changes with the module: so the
/// pods are replaced one by one, and none has its module changed under it.
fn module_name(gate: &Gate<'_>) -> Option<String> {
    let Module::ConfigMap { sha256, .. } = &gate.module else { return None };
    let short = sha256.get(..12).unwrap_or(sha256);
    Some(format!("{}-module-{short}", gate.names.gateway))
}

fn module(gate: &Gate<'_>, name: &str, bytes: &[u8]) -> ConfigMap {
    ConfigMap {
        metadata: gate.names.metadata(name),
        binary_data: Some([(MODULE_FILE.to_owned(), ByteString(bytes.to_owned()))].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// The patches that Istio applies to what it makes for the Gateway.
fn overlay(gate: &Gate<'_>) -> Result<Object, Error> {
    let replicas = gate.config.gateway.replicas.get();
    let tags: Vec<String> = METRIC_TAGS.iter().map(|tag| (*tag).to_owned()).collect();
    // The filter reads the client's certificate there, and what hops say of their clients; it lets none of it through.
    let forwarded = if gate.config.trusted_hops.is_empty() { "SANITIZE_SET" } else { "APPEND_FORWARD" };
    let proxy_config = json!({
        "extraStatTags": tags,
        "gatewayTopology": {"forwardClientCertDetails": forwarded},
        // Without it there is no limit.
        "proxyMetadata": {"ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS": bounds::CONNECTIONS.to_string()},
    });
    let proxy_config = yaml(&proxy_config)?;
    let mut annotations = json!({"proxy.istio.io/config": proxy_config});
    let mut pod = json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}});
    if let (Some(module), Some(annotations), Some(pod)) =
        (module_name(gate), annotations.as_object_mut(), pod.as_object_mut())
    {
        let volume = json!([{"name": "otlp-gate", "configMap": {"name": module}}]);
        let mount = json!({"name": "otlp-gate", "mountPath": MODULE_FOLDER, "readOnly": true});
        annotations.insert(MODULE_ANNOTATION.to_owned(), json!(module));
        pod.insert("volumes".to_owned(), volume);
        pod.insert("containers".to_owned(), json!([{"name": "istio-proxy", "volumeMounts": [mount]}]));
    }
    let template = json!({"metadata": {"annotations": annotations}, "spec": pod});
    let deployment = json!({"spec": {"replicas": replicas, "template": template}});
    let mut data: BTreeMap<String, String> = [("deployment".to_owned(), yaml(&deployment)?)].into();
    if replicas > 1 {
        data.insert("podDisruptionBudget".to_owned(), yaml(&json!({"spec": {"maxUnavailable": 1}}))?);
    }
    Object::builtin(&ConfigMap {
        metadata: gate.names.metadata(&overlay_name(&gate.names)),
        data: Some(data),
        ..ConfigMap::default()
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmPlugin {
    target_refs: Vec<TargetRef>,
    plugin_name: &'static str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    fail_strategy: &'static str,
    plugin_config: Value,
}

fn wasm_plugin(gate: &Gate<'_>) -> Result<Object, Error> {
    let (url, sha256) = match &gate.module {
        Module::ConfigMap { .. } => (format!("file://{MODULE_FOLDER}/{MODULE_FILE}"), None),
        Module::Oci { image, sha256 } => (format!("oci://{image}"), sha256.clone()),
        Module::Http { url, sha256 } => (url.clone(), Some(sha256.clone())),
    };
    let spec = WasmPlugin {
        target_refs: vec![TargetRef::gateway(&gate.names)],
        plugin_name: "otlp-gate",
        url,
        sha256,
        // A VM that failed is started anew, and until then nothing passes.
        fail_strategy: "FAIL_RELOAD",
        plugin_config: plugin_config(&gate.config.policy(), &gate.module)?,
    };
    let metadata = gate.names.metadata(&gate.names.gateway);
    Object::custom("extensions.istio.io/v1alpha1", "WasmPlugin", metadata, spec)
}

/// What Istio has no setting for: the bounds that every gate has, and Envoy's buffer filter between our filter and the router, for
/// the reason that `envoy::bootstrap` gives.
fn envoy_filter(names: &Names) -> Result<Object, Error> {
    const MANAGER: &str = "envoy.filters.network.http_connection_manager";
    const ROUTER: &str = "envoy.filters.http.router";
    let extension = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let filter = |filter: Value| json!({"filterChain": {"filter": filter}});
    let manager = filter(json!({"name": MANAGER}));
    let router = filter(json!({"name": MANAGER, "subFilter": {"name": ROUTER}}));
    let patch = |apply_to: &str, listener: &Value, operation: &str, value: Value| {
        json!({
            "applyTo": apply_to,
            "match": {"context": "GATEWAY", "listener": listener},
            "patch": {"operation": operation, "value": value},
        })
    };
    let spec = json!({
        // Up to 1.26, Istio takes an EnvoyFilter's `targetRefs` for every Gateway of the namespace.
        "workloadSelector": {"labels": {GATEWAY_LABEL: names.gateway}},
        // Istio puts the filters of WasmPlugins where they belong before it applies patches.
        "configPatches": [
            patch("HTTP_FILTER", &router, "INSERT_BEFORE", json!({
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": extension("filters.http.buffer.v3.Buffer"),
                    // It gets the body in one piece, of any size: what it may gather never counts. As much as Envoy's own
                    // default, since Istio has the router keep bodies up to this size to try them again.
                    "max_request_bytes": bounds::BUFFER,
                },
            })),
            patch("HTTP_FILTER", &router, "MERGE", json!({
                "name": ROUTER,
                "typed_config": {"@type": extension("filters.http.router.v3.Router"), "suppress_envoy_headers": true},
            })),
            // A patch with a transport socket changes nothing else (Istio's mergeTransportSocketListener).
            patch("FILTER_CHAIN", &json!({}), "MERGE", json!({"transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": extension("transport_sockets.tls.v3.DownstreamTlsContext"),
                    // A resumed session would skip the look at the client's certificate: expired or revoked, it would stay in.
                    "disable_stateless_session_resumption": true,
                    "disable_stateful_session_resumption": true,
                    "common_tls_context": {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}},
                },
            }})),
            patch("FILTER_CHAIN", &json!({}), "MERGE", json!({"transport_socket_connect_timeout": bounds::HANDSHAKE})),
            patch("LISTENER", &json!({}), "MERGE", json!({"per_connection_buffer_limit_bytes": bounds::BUFFER})),
            patch("NETWORK_FILTER", &manager, "MERGE", json!({
                "name": MANAGER,
                "typed_config": {
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
                },
            })),
        ],
    });
    Object::custom("networking.istio.io/v1alpha3", "EnvoyFilter", names.metadata(&names.gateway), spec)
}
