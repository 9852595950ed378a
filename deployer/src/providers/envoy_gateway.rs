//! Envoy Gateway: an EnvoyExtensionPolicy, and policies for both sides' connections.

use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::GatewayInfrastructureParametersRef;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Expected, METRIC_TAGS, MODULE_ANNOTATION, Provider, TargetRef, Workload};
use crate::envoy::bounds;
use crate::error::Error;
use crate::resources::{Gate, Module, Names, Object, largest_message, plugin_config, yaml};

const API_VERSION: &str = "gateway.envoyproxy.io/v1alpha1";

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

    fn class_cure(&self) -> &'static str {
        "install Envoy Gateway, and make the class, which its chart does not: docs/get-started/envoy-gateway.md shows it"
    }

    fn listener_options(&self, _: &Gate<'_>) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn frontend_ca(&self, _: &Gate<'_>) -> Option<(&'static str, String)> {
        // Its ClientTrafficPolicy names it, which takes a revocation list as well.
        None
    }

    fn parameters(&self, names: &Names) -> GatewayInfrastructureParametersRef {
        GatewayInfrastructureParametersRef {
            group: "gateway.envoyproxy.io".to_owned(),
            kind: "EnvoyProxy".to_owned(),
            name: names.gateway.clone(),
        }
    }

    fn proxies(&self, names: &Names) -> NetworkPolicyPeer {
        let label = |end: &str, value: &str| {
            (format!("gateway.envoyproxy.io/owning-gateway-{end}"), value.to_owned())
        };
        let labels = [label("name", &names.gateway), label("namespace", &names.namespace)];
        // Envoy Gateway runs proxies in its own namespace, or in the Gateway's where it is told so.
        let namespaces = LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec!["envoy-gateway-system".to_owned(), names.namespace.clone()]),
        };
        NetworkPolicyPeer {
            pod_selector: Some(LabelSelector {
                match_labels: Some(labels.into()),
                ..LabelSelector::default()
            }),
            namespace_selector: Some(LabelSelector {
                match_expressions: Some(vec![namespaces]),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        }
    }

    fn workload(&self, gate: &Gate<'_>) -> Workload {
        let names = &gate.names;
        let label = |end: &str, value: &str| format!("gateway.envoyproxy.io/owning-gateway-{end}={value}");
        Workload {
            selector: format!("{},{}", label("name", &names.gateway), label("namespace", &names.namespace)),
            // It runs them in its own namespace, or in the Gateway's where it is told so.
            namespace: None,
            stats_port: 19001,
            module: Some(gate.module.source()),
        }
    }

    fn collector_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn objects(&self, gate: &Gate<'_>) -> Result<Vec<Object>, Error> {
        let names = &gate.names;
        let policy =
            |kind: &str, spec: Value| Object::custom(API_VERSION, kind, names.metadata(&names.gateway), spec);
        let mut objects = Vec::new();
        if let Some(server) = &gate.server {
            let data = [("tls.crt", &server.certificate), ("tls.key", &server.key)];
            objects.push(Object::builtin(&Secret {
                metadata: names.metadata(&names.server()),
                type_: Some("kubernetes.io/tls".to_owned()),
                data: Some(
                    data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into(),
                ),
                ..Secret::default()
            })?);
        }
        if let Some(ca) = &gate.client_ca {
            let data = [("ca.crt", &ca.certificates), ("ca.crl", &ca.revocations)];
            objects.push(Object::builtin(&ConfigMap {
                metadata: names.metadata(&names.client_ca()),
                data: Some(data.map(|(key, value)| (key.to_owned(), value.clone())).into()),
                ..ConfigMap::default()
            })?);
        }
        objects.push(policy("EnvoyProxy", envoy_proxy(gate)?)?);
        objects.push(policy("ClientTrafficPolicy", typed(&ClientTrafficPolicy::of(gate))?)?);
        objects.push(policy("BackendTrafficPolicy", typed(&BackendTrafficPolicy::of(gate))?)?);
        objects.push(policy("EnvoyExtensionPolicy", typed(&EnvoyExtensionPolicy::of(gate)?)?)?);
        Ok(objects)
    }

    fn expected(&self, gate: &Gate<'_>, certs: &str) -> Vec<Expected> {
        let (server, ca, namespace) = (gate.names.server(), gate.names.client_ca(), &gate.names.namespace);
        let mut expected = vec![Expected {
            object: format!("secret/{server}"),
            command: format!(
                "kubectl create secret tls {server} -n {namespace} --cert={certs}/server.crt --key={certs}/server.key"
            ),
        }];
        if gate.client_ca.is_none() {
            expected.push(Expected {
                object: format!("configmap/{ca}"),
                command: format!(
                    "kubectl create configmap {ca} -n {namespace} \
                     --from-file=ca.crt={certs}/client-ca.crt --from-file=ca.crl={certs}/client.crl"
                ),
            });
        }
        expected
    }
}

fn typed(spec: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(spec).map_err(|e| Error::failed(format_args!("cannot write JSON: {e}")))
}

/// Whole mebibytes, as Kubernetes writes quantities.
fn size(bytes: u32) -> String {
    format!("{}Mi", bytes >> 20)
}

/// How the proxies are deployed, and how their metrics are tagged.
fn envoy_proxy(gate: &Gate<'_>) -> Result<Value, Error> {
    let replicas = gate.config.gateway.replicas.get();
    let tags = METRIC_TAGS.map(|tag| json!({"tag_name": tag, "regex": format!("({tag}=\\.=(.*?);\\.;)")}));
    // Its policies have no setting for it; Envoy takes this runtime key for its default.
    let headers = json!({"envoy.reloadable_features.max_request_headers_size_kb": bounds::HEADERS_KIB});
    let bootstrap = yaml(&json!({
        "stats_config": {"stats_tags": tags},
        "layered_runtime": {"layers": [{"name": "otlp_gate", "static_layer": headers}]},
    }))?;
    // Envoy Gateway asks every 10 s whether a proxy has started: a new one would serve up to 10 s later than it could.
    // As long as before, 5 minutes, until it is given up.
    let startup = ["envoy", "shutdown-manager"]
        .map(|name| json!({"name": name, "startupProbe": {"periodSeconds": 1, "failureThreshold": 300}}));
    // A proxy that fetches another module runs the one before on, since it takes two modules that it had to fetch for one
    // (Envoy's createWasm, source/extensions/common/wasm/wasm.cc, names a VM before it has the code). So it needs new ones.
    let annotations = json!({MODULE_ANNOTATION: gate.module.source()});
    let mut kubernetes = json!({"envoyDeployment": {
        "replicas": replicas,
        "pod": {"annotations": annotations},
        "patch": {"type": "StrategicMerge", "value": {"spec": {"template": {"spec": {"containers": startup}}}}},
    }});
    if let (true, Some(kubernetes)) = (replicas > 1, kubernetes.as_object_mut()) {
        kubernetes.insert("envoyPDB".to_owned(), json!({"minAvailable": 1}));
    }
    Ok(json!({
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        "bootstrap": {"type": "Merge", "value": bootstrap},
        // Envoy Gateway has it the other way round.
        "filterOrder": [{"name": "envoy.filters.http.buffer", "after": "envoy.filters.http.wasm"}],
    }))
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
    cert_details_to_add: [&'static str; 1],
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
    fn of(gate: &Gate<'_>) -> Self {
        let names = &gate.names;
        let (ca, crl) = match gate.config.certificates.cert_manager {
            None => {
                let ca = ObjectRef { group: "", kind: "ConfigMap", name: names.client_ca() };
                (ca.clone(), Some(Crl { refs: vec![ca] }))
            }
            // cert-manager makes no revocation lists.
            Some(_) => (ObjectRef { group: "", kind: "Secret", name: names.client_trust() }, None),
        };
        let mode = if gate.config.trusted_hops.is_empty() { "SanitizeSet" } else { "AppendForward" };
        ClientTrafficPolicy {
            target_refs: vec![TargetRef::gateway(names)],
            // Sessions are not resumed unless it is told so.
            tls: ClientTls {
                min_version: "1.2",
                client_validation: ClientValidation { optional: false, ca_certificate_refs: vec![ca], crl },
            },
            timeout: json!({
                "tcp": {"tlsHandshakeTimeout": bounds::HANDSHAKE},
                "http": {
                    "requestReceivedTimeout": bounds::REQUEST,
                    "streamIdleTimeout": bounds::STREAM_IDLE,
                    "idleTimeout": bounds::IDLE,
                },
            }),
            // The defaults, 32 KiB and 64 KiB, make a batch of telemetry wait for many round trips.
            connection: Connection { buffer_limit: size(bounds::BUFFER) },
            http2: Http2 {
                initial_stream_window_size: size(bounds::BUFFER),
                initial_connection_window_size: size(bounds::CONNECTION_WINDOW),
                max_concurrent_streams: bounds::STREAMS,
            },
            // The filter reads the client's certificate there, and what hops say of their clients; it lets none of it through.
            headers: Headers {
                certificate: ForwardedCertificate { mode, cert_details_to_add: ["Cert"] },
                request_id: "Disable",
            },
            // The filter and the routes see the path as the client wrote it, where Envoy Gateway would answer with a redirect.
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
    fn of(gate: &Gate<'_>) -> Self {
        // Envoy counts it in 32 bits.
        let limit = largest_message(&gate.config.limits).min(u32::MAX.into());
        BackendTrafficPolicy {
            target_refs: vec![TargetRef::gateway(&gate.names)],
            // Envoy's 15 s would end exports whose clients still wait for a slow backend.
            timeout: Timeout { http: HttpTimeout { request_timeout: "60s" } },
            // Envoy's buffer filter behind ours, for the reason that `envoy::bootstrap` gives. It gets the body in one
            // piece, of any size; and if it should ever come first, it must not refuse what our filter takes.
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
    wasm: Vec<Wasm>,
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
    fn of(gate: &Gate<'_>) -> Result<Self, Error> {
        let code = match &gate.module {
            Module::ConfigMap { .. } => {
                return Err(Error::failed(
                    "Envoy Gateway takes the filter's module from a registry or a web server only",
                )
                .hint(
                    "name it: `gateway.module.url` in the config, or `--module oci://REGISTRY/IMAGE:TAG`",
                ));
            }
            Module::Oci { image, sha256 } => {
                Code::Image { image: Source { url: image.clone(), sha256: sha256.clone() } }
            }
            Module::Http { url, sha256 } => {
                Code::Http { http: Source { url: url.clone(), sha256: Some(sha256.clone()) } }
            }
        };
        Ok(EnvoyExtensionPolicy {
            target_refs: vec![TargetRef::gateway(&gate.names)],
            wasm: vec![Wasm {
                name: "otlp-gate",
                root_id: "otlp-gate",
                fail_open: false,
                code,
                config: plugin_config(&gate.config.policy(), &gate.module)?,
            }],
        })
    }
}
