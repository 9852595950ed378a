use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use otlp_gate_core::config::{Match, Matches};
use serde_json::{Value, json};

use super::*;
use crate::certs::InternalCertificate;
use crate::config::{Collector, Config, Gateway, Provider, Source, TlsMode};
use crate::model::{
    Certificates, Extension, ExtensionKind, Internal, KeyPair, Mesh, plugin_config, revision,
};
use crate::module::Location;

const MODULE: &str = "oci://registry.example/otlp-gate:0.1.0";
const PROVIDERS: [(Provider, &str); 2] =
    [(Provider::Istio, "istio"), (Provider::EnvoyGateway, "envoy-gateway")];

fn config(text: &str) -> Config {
    let text = format!("apiVersion: otlp-gate/v1\nclients: [{{name: a, match: {{dns: a.example}}}}]\n{text}");
    let source = Source { name: "test".to_owned(), text };
    source.load().unwrap_or_else(|report| panic!("{report}")).config
}

fn installation(config: &Config, module: Location) -> Installation<'_> {
    Installation::new(config, module, Mesh::from_config(config), Certificates::default())
}

fn objects(config: &Config) -> Vec<Object> {
    super::objects(&installation(config, Location::at(MODULE, None, "").unwrap())).unwrap()
}

fn everything() -> Vec<Object> {
    let mut all = Vec::new();
    for (provider, _) in PROVIDERS {
        for text in [
            "backend: {collector: {maxReplicas: 3}}",
            "backend: {service: {name: otel, namespace: elsewhere}}",
            "certificates: {certManager: {}}",
            "monitoring: {prometheusOperator: on}",
            "quotas: {engine: {deploy: {}}}",
        ] {
            let mut config = config(text);
            config.gateway.provider = provider;
            all.extend(objects(&config));
        }
    }
    all
}

fn find<'a>(objects: &'a [Object], kind: &str) -> &'a Value {
    &objects.iter().find(|object| object.kind == kind).unwrap_or_else(|| panic!("no {kind}")).value
}

fn find_named<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Value {
    &objects.iter().find(|it| it.kind == kind && it.name == name).unwrap().value
}

/// Objects of a gate with this engine, the template of its proxies' pods, and the environment that the filter may read.
fn with_engine(provider: Provider, engine: &str) -> (Vec<Object>, Value, Value) {
    let mut config = config(&format!("quotas: {{engine: {engine}}}"));
    config.gateway.provider = provider;
    let all = objects(&config);
    let at = |value: &Value, pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
    let (template, environment) = match provider {
        Provider::Istio => {
            let overlay = at(find_named(&all, "ConfigMap", "otel-gateway-deployment"), "/data/deployment");
            let deployment: Value = serde_saphyr::from_str(overlay.as_str().unwrap()).unwrap();
            (at(&deployment, "/spec/template"), at(find(&all, "WasmPlugin"), "/spec/vmConfig"))
        }
        Provider::EnvoyGateway => {
            let template = "/spec/provider/kubernetes/envoyDeployment/patch/value/spec/template";
            let environment = at(find(&all, "EnvoyExtensionPolicy"), "/spec/wasm/0/env");
            (at(find(&all, "EnvoyProxy"), template), environment)
        }
    };
    (all, template, environment)
}

fn engine_cluster_of(provider: Provider, objects: &[Object]) -> Value {
    let found = match provider {
        Provider::Istio => {
            let patches = find(objects, "EnvoyFilter").pointer("/spec/configPatches").unwrap();
            let is_cluster = |it: &&Value| it.get("applyTo").unwrap() == "CLUSTER";
            let patch = patches.as_array().unwrap().iter().find(is_cluster);
            patch.and_then(|it| it.pointer("/patch/value")).cloned()
        }
        Provider::EnvoyGateway => {
            let text = find(objects, "EnvoyProxy").pointer("/spec/bootstrap/value").unwrap();
            let bootstrap: Value = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
            bootstrap.pointer("/static_resources/clusters/0").cloned()
        }
    };
    found.unwrap_or_default()
}

#[test]
fn the_quota_engine_is_a_cluster_of_the_proxies() {
    for (provider, name) in PROVIDERS {
        let (all, template, environment) =
            with_engine(provider, "{address: 'valkey.example:6379', tls: off}");
        let cluster = engine_cluster_of(provider, &all);
        assert_eq!(cluster["name"], "otlp_gate_quota_engine/otel-collector/otel-gateway", "{name}");
        assert_eq!(cluster["upstream_config"]["name"], "envoy.upstreams.http.tcp", "{name}");
        assert_eq!(cluster["transport_socket"], Value::Null, "{name}");
        assert_eq!(environment, Value::Null, "{name}");
        assert!(!template.to_string().contains("quota-engine"), "{name} {template}");
        // The filter does not need to know where the engine is.
        let other = with_engine(provider, "{address: 'other.example:6379', tls: off}");
        let policies = |all: &[Object]| -> Vec<Value> {
            all.iter()
                .filter(|it| ["WasmPlugin", "EnvoyExtensionPolicy"].contains(&&*it.kind))
                .map(|it| it.value.clone())
                .collect()
        };
        assert_eq!(policies(&all), policies(&other.0), "{name}");

        let own = config("quotas: {scope: replica, engine: {address: 'valkey.example:6379'}}");
        let own = Config { gateway: Gateway { provider, ..own.gateway.clone() }, ..own };
        assert_eq!(engine_cluster_of(provider, &objects(&own)), Value::Null, "{name}");
    }
}

#[test]
fn the_password_of_the_quota_engine_is_in_the_proxies_environment_only() {
    let engine = "{address: 'valkey.example:6379', credentials: {secret: user}}";
    for (provider, name) in PROVIDERS {
        let (_, template, environment) = with_engine(provider, engine);
        let container =
            template["spec"]["containers"].as_array().unwrap().iter().find(|it| it["env"] != Value::Null);
        let variable = |name: &str, key: &str| json!({"name": format!("OTLP_GATE_QUOTA_ENGINE_{name}"), "valueFrom": {"secretKeyRef": {"name": "user", "key": key}}});
        let mut user = variable("USER", "username");
        user["valueFrom"]["secretKeyRef"]["optional"] = true.into();
        assert_eq!(container.unwrap()["env"], json!([user, variable("PASSWORD", "password")]), "{name}");
        let names = ["OTLP_GATE_QUOTA_ENGINE_USER", "OTLP_GATE_QUOTA_ENGINE_PASSWORD"];
        let expected = match provider {
            Provider::Istio => json!({"env": names.map(|it| json!({"name": it, "valueFrom": "HOST"}))}),
            Provider::EnvoyGateway => json!({"hostKeys": names}),
        };
        assert_eq!(environment, expected, "{name}");
    }
}

#[test]
fn the_quota_engine_is_authenticated_by_its_name() {
    for (provider, name) in PROVIDERS {
        let context = |engine: &str| {
            let (all, template, _) = with_engine(provider, engine);
            (engine_cluster_of(provider, &all)["transport_socket"]["typed_config"].clone(), template)
        };
        let (public, template) = context("{address: 'valkey.example:6379'}");
        let validation = &public["common_tls_context"]["validation_context"];
        assert_eq!(validation["trusted_ca"]["filename"], "/etc/ssl/certs/ca-certificates.crt", "{name}");
        let by_name = json!([{"san_type": "DNS", "matcher": {"exact": "valkey.example"}}]);
        assert_eq!(validation["match_typed_subject_alt_names"], by_name, "{name}");
        assert!(!template.to_string().contains("quota-engine"), "{name}");

        let (own, template) =
            context("{address: '10.0.0.1:6379', tls: {caConfigMap: ca, clientSecret: own}}");
        let common = &own["common_tls_context"];
        let by_address = json!([{"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}}]);
        let validation = &common["combined_validation_context"];
        assert_eq!(validation["default_validation_context"]["match_typed_subject_alt_names"], by_address);
        assert_eq!(own["sni"], Value::Null, "{name}");
        // The files that SDS reads are annotations, and name the files of the ConfigMap and the Secret.
        let volumes = template["spec"]["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|it| it["name"] == "otlp-gate-quota-engine").unwrap();
        let items = volume["projected"]["sources"][0]["downwardAPI"]["items"].as_array().unwrap();
        let folder = "/etc/otlp-gate-quota-engine";
        for (item, secret) in items.iter().zip([
            &validation["validation_context_sds_secret_config"],
            &common["tls_certificate_sds_secret_configs"][0],
        ]) {
            let path = item["path"].as_str().unwrap();
            assert_eq!(
                secret["sds_config"]["path_config_source"]["path"],
                format!("{folder}/{path}"),
                "{name}"
            );
            let annotation = item["fieldRef"]["fieldPath"].as_str().unwrap();
            let key = annotation.split('\'').nth(1).unwrap();
            let text = template["metadata"]["annotations"][key].as_str().unwrap();
            let file: Value = serde_json::from_str(text).unwrap();
            assert_eq!(file["resources"][0]["name"], secret["name"], "{name}");
        }
        let of_objects: Vec<String> =
            volume["projected"]["sources"].as_array().unwrap()[1..].iter().map(Value::to_string).collect();
        assert!(of_objects[0].contains("configMap") && of_objects[1].contains("tls.key"), "{of_objects:?}");
    }
}

#[test]
fn every_object_has_the_labels_of_its_gate() {
    for object in everything() {
        let labels = &object.value["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/managed-by"], "otlp-gate", "{object:?}");
        assert_eq!(labels["otlp-gate.io/gate"], "otel-gateway", "{object:?}");
        assert_eq!(labels["otlp-gate.io/gate-namespace"], "otel-collector", "{object:?}");
    }
}

#[test]
fn every_kind_is_pruned() {
    for object in everything().iter().filter(|it| it.kind != "Namespace") {
        assert!(KINDS.contains(&(object.api_version(), object.kind.as_str())), "{object:?}");
    }
}

#[test]
fn the_revision_differs_by_policy_and_by_module() {
    let at = |url| Location::at(url, None, "").unwrap();
    let [one, same, other, elsewhere] =
        [("", MODULE), ("", MODULE), ("attributes: {a: b}", MODULE), ("", "oci://registry.example/other:2")]
            .map(|(text, url)| {
                revision(&config(text).policy(), &at(url), ExtensionKind::WasmPlugin).unwrap()
            });
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_ne!(one, elsewhere);
    assert_eq!(u64::from_str_radix(&one.text, 16), Ok(one.number));
    assert_eq!(
        plugin_config(&config("").policy(), &at(MODULE), ExtensionKind::WasmPlugin).unwrap()["revision"],
        one.text
    );
}

#[test]
fn the_native_module_comes_with_the_proxies_image_and_is_loaded_alone_first() {
    const GATEWAY: &str = "gateway: {provider: envoy-gateway, host: native, name: a-native}";
    let config = config(GATEWAY);
    let digest = "ab".repeat(32);
    let module = Location::at("oci://registry.example/envoy:1", Some(&digest), "").unwrap();
    let all = super::objects(&installation(&config, module)).unwrap();
    let policy = &find(&all, "EnvoyExtensionPolicy")["spec"];
    assert!(policy.get("wasm").is_none());
    assert_eq!(policy["dynamicModule"][0]["config"]["clients"][0]["name"], "a");
    let proxy = &find(&all, "EnvoyProxy")["spec"];
    assert_eq!(proxy["dynamicModules"][0]["name"], policy["dynamicModule"][0]["name"]);
    assert_eq!(proxy["filterOrder"][0]["after"], "envoy.filters.http.dynamic_modules");
    assert!(
        proxy["bootstrap"]["value"]
            .as_str()
            .unwrap()
            .contains("dynamic_modules_strip_custom_stat_prefix: true")
    );
    let deployment = &proxy["provider"]["kubernetes"]["envoyDeployment"];
    let image = format!("registry.example/envoy:1@sha256:{digest}");
    assert_eq!(deployment["container"]["image"], image);
    let init = &deployment["patch"]["value"]["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!(init["image"], image);

    let by_http = Location::at("https://x.example/module", None, "00").unwrap();
    let error = super::objects(&installation(&config, by_http)).unwrap_err();
    assert!(error.to_string().contains("image of Envoy"), "{error}");
}

#[test]
fn every_route_is_attached_to_the_listener_of_its_protocol() {
    let routes = everything().into_iter().filter(|object| object.kind.ends_with("Route"));
    let mut seen = 0;
    for route in routes {
        let parents = route.value["spec"]["parentRefs"].as_array().unwrap();
        let section = if route.kind == "GRPCRoute" { "grpc" } else { "http" };
        assert!(parents.iter().all(|parent| parent["sectionName"] == section), "{route:?}");
        seen += 1;
    }
    assert_eq!(seen, 60);
}

#[test]
fn listeners_accept_routes_of_the_gates_namespace_only() {
    for object in everything().iter().filter(|object| object.kind == "Gateway") {
        for listener in object.value["spec"]["listeners"].as_array().unwrap() {
            assert_eq!(listener["allowedRoutes"]["namespaces"]["from"], "Same");
        }
    }
}

#[test]
fn no_two_objects_have_the_same_file_name() {
    let issuer = "certificates: {certManager: {internal: {name: a, kind: ClusterIssuer}}}";
    for (provider, text) in PROVIDERS.iter().flat_map(|(it, _)| [(*it, ""), (*it, issuer)]) {
        let mut config = config(&format!("quotas: {{engine: {{deploy: {{}}}}}}\n{text}"));
        config.gateway.provider = provider;
        let mut names: Vec<String> = objects(&config).iter().map(Object::file_name).collect();
        let number = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), number);
    }
}

#[test]
fn a_service_in_another_namespace_has_a_reference_grant_and_no_collector() {
    let objects = objects(&config("backend: {service: {name: otel, namespace: elsewhere, grpc: 9999}}"));
    let grant = find(&objects, "ReferenceGrant");
    assert_eq!(grant["metadata"]["namespace"], "elsewhere");
    assert_eq!(grant["spec"]["to"][0]["name"], "otel");
    let backend = &find(&objects, "GRPCRoute")["spec"]["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["namespace"], &backend["port"]), (&"elsewhere".into(), &9999.into()));
    assert!(!objects.iter().any(|object| object.kind == "Deployment"));
}

#[test]
fn preflight_requests_have_a_route_if_web_pages_may_send() {
    for (text, methods) in
        [("", vec!["POST"]), ("corsOrigins: ['https://shop.example.com']", vec!["POST", "OPTIONS"])]
    {
        let route = find(&objects(&config(text)), "HTTPRoute").clone();
        let matches = route["spec"]["rules"][0]["matches"].as_array().unwrap();
        let routed: BTreeSet<(&str, &str)> = matches
            .iter()
            .map(|one| (one["method"].as_str().unwrap(), one["path"]["value"].as_str().unwrap()))
            .collect();
        let paths = ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1development/profiles"];
        let wanted = methods.iter().flat_map(|method| paths.map(|path| (*method, path))).collect();
        assert_eq!(routed, wanted);
    }
}

#[test]
fn the_collector_accepts_messages_as_large_as_the_gate_forwards() {
    let objects = objects(&config("limits: {inflated: 8MiB}"));
    let map = find(&objects, "ConfigMap");
    let text = map["data"]["config.yaml"].as_str().unwrap();
    let collector: Value = serde_saphyr::from_str(text).unwrap();
    let protocols = &collector["receivers"]["otlp"]["protocols"];
    assert_eq!(protocols["grpc"]["max_recv_msg_size_mib"], 10);
    assert_eq!(protocols["http"]["max_request_body_size"], 10 << 20);
}

#[test]
fn the_buffer_filter_is_between_the_filter_and_the_router() {
    let mut config = config("limits: {inflated: 8MiB}");
    let filter = find(&objects(&config), "EnvoyFilter")["spec"].clone();
    let selected = &filter["workloadSelector"]["labels"]["gateway.networking.k8s.io/gateway-name"];
    assert_eq!(selected, "otel-gateway");
    let patch = &filter["configPatches"][0];
    let before = &patch["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"];
    assert_eq!(
        (&patch["patch"]["operation"], before),
        (&"INSERT_BEFORE".into(), &"envoy.filters.http.router".into())
    );
    assert_eq!(patch["patch"]["value"]["name"], "envoy.filters.http.buffer");

    config.gateway.provider = Provider::EnvoyGateway;
    let objects = objects(&config);
    assert_eq!(find(&objects, "BackendTrafficPolicy")["spec"]["requestBuffer"]["limit"], "10485760");
    let order = &find(&objects, "EnvoyProxy")["spec"]["filterOrder"][0];
    assert_eq!(
        (&order["name"], &order["after"]),
        (&"envoy.filters.http.buffer".into(), &"envoy.filters.http.wasm".into())
    );
}

#[test]
fn exporters_respond_after_delivery_unless_the_config_says_otherwise() {
    for (exporter, expected) in [
        ("otlp_grpc: {endpoint: 'x:4317'}", r#"{"wait_for_result":true}"#),
        ("otlp_http/b: {sending_queue: {queue_size: 5}}", r#"{"wait_for_result":true,"queue_size":5}"#),
        ("otlp_grpc: {sending_queue: {storage: file_storage}}", r#"{"storage":"file_storage"}"#),
        ("otlp_grpc: {sending_queue: {wait_for_result: false}}", r#"{"wait_for_result":false}"#),
        ("prometheusremotewrite: {endpoint: x}", "null"),
    ] {
        let objects = objects(&config(&format!("backend: {{collector: {{exporters: {{{exporter}}}}}}}")));
        let text = find(&objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
        let collector: Value = serde_saphyr::from_str(&text).unwrap();
        let mut exporters = collector["exporters"].as_object().unwrap().iter();
        let (_, theirs) = exporters.find(|(name, _)| !name.starts_with("debug/")).unwrap();
        let mut queue = theirs["sending_queue"].clone();
        if exporter.contains("x:4317") {
            let queue = queue.as_object_mut().unwrap();
            queue.retain(|key, _| key == "wait_for_result");
        }
        assert_eq!(queue, serde_json::from_str::<Value>(expected).unwrap(), "{exporter}");
    }
}

#[test]
fn an_autoscaler_owns_the_number_of_collectors() {
    let objects = objects(&config("backend: {collector: {replicas: 2, maxReplicas: 5}}"));
    let scaler = &find(&objects, "HorizontalPodAutoscaler")["spec"];
    assert_eq!((&scaler["minReplicas"], &scaler["maxReplicas"]), (&2.into(), &5.into()));
    let collector = find(&objects, "Deployment");
    assert_eq!(scaler["scaleTargetRef"]["name"], collector["metadata"]["name"]);
    assert_eq!(collector["spec"]["replicas"], Value::Null);
}

#[test]
fn cert_manager_issues_from_issuers_of_the_gate_unless_the_config_names_some() {
    let issuer = |text: &str, certificate: &str| {
        let objects = objects(&config(&format!("certificates: {{certManager: {text}}}")));
        let kinds = |kind: &str| objects.iter().filter(|it| it.kind == kind).count();
        let found = objects.iter().find(|it| it.kind == "Certificate" && it.name == certificate).unwrap();
        (
            found.value["spec"]["issuerRef"]["name"].as_str().unwrap().to_owned(),
            kinds("Issuer"),
            kinds("Certificate"),
        )
    };
    let (server, trust) = ("otel-gateway-server", "otel-gateway-client-trust");
    let collector = "otel-gateway-collector";
    assert_eq!(issuer("{}", server), ("otel-gateway-servers".to_owned(), 4, 7));
    assert_eq!(issuer("{}", trust), ("otel-gateway-clients".to_owned(), 4, 7));
    assert_eq!(issuer("{}", collector), ("otel-gateway-internal".to_owned(), 4, 7));
    assert_eq!(issuer("{server: {name: le, kind: ClusterIssuer}}", server), ("le".to_owned(), 3, 6));
    assert_eq!(issuer("{server: {name: le}, clients: {name: ours}}", trust), ("ours".to_owned(), 2, 5));
    let all = "{server: {name: le}, clients: {name: ours}, internal: {name: inside, kind: ClusterIssuer}}";
    assert_eq!(issuer(all, collector), ("inside".to_owned(), 0, 4));
    let plain = config("certificates: {certManager: {}}\nbackend: {collector: {tls: off}}");
    let internal =
        objects(&plain).into_iter().filter(|it| it.kind == "Certificate" && it.name.contains("internal"));
    assert_eq!(internal.count(), 0);
}

#[test]
fn with_cert_manager_only_certificates_of_the_clients_issuer_are_accepted() {
    let mut config = config("certificates: {certManager: {}}");
    let gateway = find(&objects(&config), "Gateway")["spec"].clone();
    let ca = &gateway["tls"]["frontend"]["default"]["validation"];
    assert_eq!(ca["caCertificateRefs"][0]["name"], "otel-gateway-client-trust");
    assert_eq!(ca["mode"], "AllowValidOnly");
    // With this option Istio would use the CA in the server's Secret until it finds the client CA.
    assert_eq!(gateway["listeners"][0]["tls"]["options"], Value::Null);
    config.gateway.provider = Provider::EnvoyGateway;
    let policy = find(&objects(&config), "ClientTrafficPolicy")["spec"]["tls"]["clientValidation"].clone();
    assert_eq!(policy["caCertificateRefs"][0]["name"], "otel-gateway-client-trust");
    assert_eq!(policy["caCertificateRefs"][0]["kind"], "Secret");
    assert_eq!((&policy["optional"], &policy["crl"]), (&false.into(), &Value::Null));
}

#[test]
fn with_client_cas_cert_manager_issues_the_servers_certificate_only() {
    let by_cert_manager = "certificates: {certManager: {server: {name: le, kind: ClusterIssuer}}}";
    let (own, spire) = ("otel-gateway-client-ca", "spire-bundle");
    for (cas, expected) in [
        ("[{name: own}]", &[own][..]),
        ("[{name: other, certificates: a.pem}]", &[own]),
        ("[{name: spire, configMap: spire-bundle}]", &[spire]),
    ] {
        let config =
            config(&format!("{by_cert_manager}\nbackend: {{collector: {{tls: off}}}}\nclientCAs: {cas}"));
        let objects = objects(&config);
        let kinds =
            |kind: &str| objects.iter().filter(|it| it.kind == kind).map(|it| it.name.as_str()).collect();
        let (certificates, issuers): (Vec<&str>, Vec<&str>) = (kinds("Certificate"), kinds("Issuer"));
        assert_eq!((certificates, issuers), (vec!["otel-gateway-server"], vec![]));
        let gateway = find(&objects, "Gateway")["spec"].clone();
        let refs = &gateway["tls"]["frontend"]["default"]["validation"]["caCertificateRefs"];
        let expected: Vec<_> =
            expected.iter().map(|name| json!({"group": "", "kind": "ConfigMap", "name": name})).collect();
        assert_eq!(*refs, json!(expected));
        // With this option Istio would take the server's issuer for the client CA.
        assert_eq!(gateway["listeners"][0]["tls"]["options"], Value::Null);
    }
    let both = format!(
        "{by_cert_manager}\ngateway: {{provider: envoy-gateway}}\n\
                        clientCAs: [{{name: own}}, {{name: spire, configMap: spire-bundle}}]"
    );
    let policy =
        find(&objects(&config(&both)), "ClientTrafficPolicy")["spec"]["tls"]["clientValidation"].clone();
    let refs = policy["caCertificateRefs"].as_array().unwrap();
    assert_eq!(refs.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), [own, spire]);
    // A CA without a list: Envoy would reject its clients if it had the list of another one.
    assert_eq!((&policy["optional"], &policy["crl"]), (&false.into(), &Value::Null));
    let listed = both.replace(", {name: spire, configMap: spire-bundle}", "");
    let policy =
        find(&objects(&config(&listed)), "ClientTrafficPolicy")["spec"]["tls"]["clientValidation"].clone();
    assert_eq!(policy["crl"]["refs"][0]["name"], own);
}

#[test]
fn a_config_map_with_client_cas_replaces_those_in_the_servers_secret() {
    let objects = objects(&config("clientCAs: [{name: spire, configMap: spire-bundle}]"));
    let gateway = find(&objects, "Gateway")["spec"].clone();
    let ca = &gateway["tls"]["frontend"]["default"]["validation"]["caCertificateRefs"][0];
    assert_eq!((&ca["kind"], &ca["name"]), (&"ConfigMap".into(), &"spire-bundle".into()));
    assert_eq!(gateway["listeners"][0]["tls"]["options"], Value::Null);
}

#[test]
fn the_module_is_mounted_at_the_plugins_path() {
    let config = config("");
    let module = Location::config_map(b"\0asm").unwrap();
    let objects = super::objects(&installation(&config, module)).unwrap();
    let map = objects.iter().find(|object| object.value.get("binaryData").is_some()).unwrap();
    assert_eq!(map.value["binaryData"]["otlp-gate.wasm"], "AGFzbQ==");
    let overlay = objects.iter().find(|object| object.name == "otel-gateway-deployment").unwrap();
    let patch: Value = serde_saphyr::from_str(overlay.value["data"]["deployment"].as_str().unwrap()).unwrap();
    let pod = &patch["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["configMap"]["name"], map.name);
    let folder = pod["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let plugin = find(&objects, "WasmPlugin");
    assert_eq!(plugin["spec"]["url"], format!("file://{folder}/otlp-gate.wasm"));
    assert_eq!(plugin["spec"]["targetRefs"][0]["name"], "otel-gateway");
}

#[test]
fn the_gateways_objects_get_labels_and_annotations() {
    let text =
        "gateway: {labels: {team: platform}, annotations: {external-dns.alpha.kubernetes.io/ttl: '60'}}";
    for (provider, _) in PROVIDERS {
        let mut config = config(text);
        config.gateway.provider = provider;
        let objects = objects(&config);
        let infrastructure = &find(&objects, "Gateway")["spec"]["infrastructure"];
        assert_eq!(infrastructure["labels"], json!({"team": "platform"}));
        assert_eq!(infrastructure["annotations"], json!({"external-dns.alpha.kubernetes.io/ttl": "60"}));
    }
}

#[test]
fn services_and_ports_have_the_ip_families_of_the_cluster() {
    let all = objects(&config(
        "nodeLocal: {enabled: true}\ngateway: {provider: envoy-gateway, ipFamily: DualStack}",
    ));
    assert_eq!(find(&all, "EnvoyProxy")["spec"]["ipFamily"], "DualStack");
    let services: Vec<&Object> = all.iter().filter(|it| it.kind == "Service").collect();
    assert_eq!(services.len(), 2);
    assert!(services.iter().all(|it| it.value["spec"]["ipFamilyPolicy"] == "PreferDualStack"));
    let default = objects(&config("gateway: {provider: envoy-gateway}"));
    assert!(find(&default, "EnvoyProxy")["spec"].get("ipFamily").is_none());
}

#[test]
fn modules_and_policies_that_are_too_large_are_rejected_with_their_size() {
    let error = Location::config_map(&vec![0; (1 << 20) + 1]).unwrap_err();
    assert_eq!(error.to_string(), "the filter's module has 1048577 bytes, and a ConfigMap holds 1048576");

    let (mut policy, module) = (config("").policy(), Location::at(MODULE, None, "").unwrap());
    // Digests do not compress.
    let digest = |number: u32| {
        use sha2::{Digest, Sha256};
        Sha256::digest(number.to_le_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    policy.deny = (0..30_000).map(digest).collect();
    let error = plugin_config(&policy, &module, ExtensionKind::WasmPlugin).unwrap_err().to_string();
    assert!(error.ends_with("bytes compressed, and one Kubernetes object has room for 1048576"), "{error}");
}

#[test]
fn ten_thousand_clients_fit_into_one_object() {
    let (mut policy, module) = (config("").policy(), Location::at(MODULE, None, "").unwrap());
    let one = policy.clients[0].clone();
    policy.clients = (0..10_000)
        .map(|number| {
            let mut client = one.clone();
            client.name = format!("client-{number}");
            let spiffe = Some(format!("spiffe://example/site/{number}"));
            client.matches = Matches::One(Match { spiffe, ..Match::default() });
            client.attributes = [("tenant.id".to_owned(), format!("tenant-{}", number % 100))].into();
            client
        })
        .collect();
    let config = plugin_config(&policy, &module, ExtensionKind::WasmPlugin).unwrap();
    let gzip = config["gzip"].as_str().unwrap();
    assert!(gzip.len() < 256 << 10, "{}", gzip.len());
    // The filter can read it.
    otlp_gate_core::gate::Gate::load(config.to_string().as_bytes()).map(drop).unwrap();
}

#[test]
fn envoy_gateway_cannot_load_a_module_from_a_config_map() {
    let mut config = config("");
    config.gateway.provider = Provider::EnvoyGateway;
    let module = Location::config_map(b"\0asm").unwrap();
    let error = super::objects(&installation(&config, module)).unwrap_err().to_string();
    assert_eq!(error, "Envoy Gateway loads the filter's module from a registry or a web server only");
}

#[test]
fn a_url_gives_the_location_of_a_module() {
    let at = |url| Location::at(url, None, "00");
    assert_eq!(at("oci://r/i:1").unwrap(), Location::Oci { image: "r/i:1".to_owned(), sha256: None });
    assert_eq!(
        at("https://x/m.wasm").unwrap(),
        Location::Http { url: "https://x/m.wasm".to_owned(), sha256: "00".to_owned() }
    );
    for url in ["", "r/i:1", "oci://", "file:///x"] {
        assert!(at(url).is_err(), "{url}");
    }
    assert!(Location::at("oci://r/i:1", Some("sha256:12"), "").is_err());
}

#[test]
fn metrics_are_open_to_those_that_the_config_names_only() {
    let text = "nodeLocal: {enabled: true}\nmonitoring: {from: [{podSelector: {matchLabels: {app: prom}}}]}";
    for (provider, metrics, listeners) in [
        (Provider::Istio, 15090, json!([4317, 443, 15021])),
        (Provider::EnvoyGateway, 19001, json!([4317, 10443])),
    ] {
        let mut config = config(&format!("{text}\ngateway: {{listeners: {{http: 443}}}}"));
        config.gateway.provider = provider;
        let objects = objects(&config);
        let policies: Vec<&Object> = objects.iter().filter(|it| it.kind == "NetworkPolicy").collect();
        let gateway = |it: &&&Object| it.name.ends_with("-metrics");
        assert!(policies.iter().filter(gateway).count() >= 1);
        for policy in policies {
            let rules = policy.value["spec"]["ingress"].as_array().unwrap();
            let ports = |rule: &Value| {
                rule["ports"].as_array().unwrap().iter().map(|it| it["port"].clone()).collect()
            };
            let (rest, last) = (&rules[..rules.len() - 1], rules.last().unwrap());
            let own = if policy.name.ends_with("-metrics") { metrics } else { 8888 };
            assert_eq!(ports(last), json!([own]), "{policy:?}");
            assert_eq!(last["from"], json!([{"podSelector": {"matchLabels": {"app": "prom"}}}]));
            let others: Vec<Value> = rest.iter().map(ports).collect();
            match policy.name.ends_with("-metrics") {
                true => assert_eq!(others, std::slice::from_ref(&listeners)),
                false => assert_eq!(others, [json!([4317, 4318])]),
            }
        }
    }
}

#[test]
fn without_monitoring_no_pod_may_read_the_metrics_of_collectors() {
    for object in objects(&config("nodeLocal: {enabled: true}")) {
        let text = object.value.to_string();
        match object.kind.as_str() {
            "NetworkPolicy" => assert!(!text.contains("8888"), "{text}"),
            "PodMonitor" | "PrometheusRule" => panic!("{text}"),
            _ => {}
        }
    }
}

#[test]
fn the_cron_job_mounts_what_verify_reads_and_has_no_rights() {
    let verify = "monitoring: {verify: {image: i}}";
    for (text, secrets) in [
        (verify.to_owned(), vec!["otlp-gate-verify-otel-gateway"]),
        (
            format!("{verify}\ncertificates: {{certManager: {{}}}}"),
            vec!["otel-gateway-client-trust", "otel-gateway-server"],
        ),
    ] {
        let config = config(&text);
        let objects = objects(&config);
        let name = "otlp-gate-verify-otel-gateway";
        let map =
            find_named(&objects, "ConfigMap", name)["data"]["otlp-gate.yaml"].as_str().unwrap().to_owned();
        let again =
            Source { name: "mounted".to_owned(), text: map }.load().unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(again.config, config);
        let pod = &find(&objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        let sources = pod["volumes"][0]["projected"]["sources"].as_array().unwrap();
        let mounted: Vec<&str> = sources.iter().filter_map(|it| it["secret"]["name"].as_str()).collect();
        assert_eq!(mounted, secrets);
        let paths: BTreeSet<&str> = sources
            .iter()
            .flat_map(|it| it["secret"]["items"].as_array().into_iter().flatten())
            .map(|it| it["path"].as_str().unwrap())
            .collect();
        assert!(
            paths.contains("certs/verify/client.key") && paths.contains("certs/server-ca.crt"),
            "{paths:?}"
        );
        assert!(!paths.contains("certs/server.key"), "{paths:?}");
        assert!(!objects.iter().any(|it| it.kind.contains("Role") || it.kind == "ServiceAccount"));
    }
}

#[test]
fn every_monitor_selects_pods_with_its_port() {
    let text = "nodeLocal: {enabled: true}\nmonitoring: {prometheusOperator: on, labels: {release: prom}}";
    let objects = objects(&config(text));
    let monitors: Vec<&Object> = objects.iter().filter(|it| it.kind == "PodMonitor").collect();
    assert_eq!(monitors.len(), 3);
    for monitor in monitors {
        assert_eq!(monitor.value["metadata"]["labels"]["release"], "prom");
        let spec = &monitor.value["spec"];
        let port = &spec["podMetricsEndpoints"][0]["port"];
        if port == "http-envoy-prom" {
            continue;
        }
        let pods = objects.iter().filter(|it| ["Deployment", "DaemonSet"].contains(&it.kind.as_str()));
        let selected: Vec<&Value> = pods
            .map(|it| &it.value["spec"]["template"])
            .filter(|it| {
                let wanted = spec["selector"]["matchLabels"].as_object().unwrap();
                wanted.iter().all(|(key, value)| it["metadata"]["labels"][key] == *value)
            })
            .collect();
        assert_eq!(selected.len(), 1, "{monitor:?}");
        let ports = selected[0]["spec"]["containers"][0]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|it| it["name"] == *port && it["containerPort"] == 8888), "{monitor:?}");
    }
}

/// With `OTLP_GATE_UPDATE_MANIFESTS=1` it writes the manifests.
#[test]
fn manifests_are_what_the_examples_render_to() {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let update = std::env::var_os("OTLP_GATE_UPDATE_MANIFESTS").is_some();
    for example in [
        "partners",
        "edge-fleet",
        "cert-manager",
        "node-local",
        "edge-cluster",
        "public-dns",
        "tail-sampling",
        "public-ca",
        "durable-queue",
        "client-cas",
        "shared-quotas",
        "monitoring",
    ] {
        for (provider, provider_name) in PROVIDERS {
            let source =
                Source::read_file(&root.join("examples").join(example).join("otlp-gate.yaml")).unwrap();
            let mut config = source.load().unwrap_or_else(|report| panic!("{report}")).config;
            config.gateway.provider = provider;
            let objects = objects(&config);
            let checked = root.join("manifests").join(format!("{example}-{provider_name}"));
            if update {
                let _ = fs::remove_dir_all(&checked);
                write_folder(&checked, &objects).unwrap();
            }
            let now = tempfile::tempdir().unwrap();
            write_folder(now.path(), &objects).unwrap();
            let (now, before) = (files(now.path()), files(&checked));
            let differ: Vec<&String> = now
                .iter()
                .chain(&before)
                .filter(|it| !(now.contains(it) && before.contains(it)))
                .map(|it| &it.0)
                .collect();
            assert!(differ.is_empty(), "manifests/{example}-{provider_name}: {differ:#?}");
        }
    }
}

#[test]
fn every_example_passes_check_without_a_warning() {
    let examples = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
    let mut seen = 0;
    for folder in fs::read_dir(examples).unwrap() {
        let source = Source::read_file(&folder.unwrap().path().join("otlp-gate.yaml")).unwrap();
        let loaded = source.load().unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.findings.is_empty(), "{}", loaded.warnings);
        seen += 1;
    }
    assert!(seen >= 3);
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort_unstable();
    files
}

#[test]
fn the_filter_gets_the_clients_certificate_and_forwarded_identities_only_with_trusted_hops() {
    for (text, istio, envoy_gateway) in [
        ("", "SANITIZE_SET", "SanitizeSet"),
        ("trustedHops: [{spiffe: \"spiffe://hop.example/*\"}]", "APPEND_FORWARD", "AppendForward"),
    ] {
        let mut config = config(text);
        let made = objects(&config);
        let overlay = find_named(&made, "ConfigMap", "otel-gateway-deployment");
        let deployment: Value =
            serde_saphyr::from_str(overlay["data"]["deployment"].as_str().unwrap()).unwrap();
        let said = &deployment["spec"]["template"]["metadata"]["annotations"]["proxy.istio.io/config"];
        let said: Value = serde_saphyr::from_str(said.as_str().unwrap()).unwrap();
        assert_eq!(said["gatewayTopology"]["forwardClientCertDetails"], istio, "{text}");

        config.gateway.provider = Provider::EnvoyGateway;
        let policy = find(&objects(&config), "ClientTrafficPolicy")["spec"]["headers"].clone();
        let expected = json!({"mode": envoy_gateway, "certDetailsToAdd": ["Cert"]});
        assert_eq!(policy["xForwardedClientCert"], expected, "{text}");
    }
}

/// tests/cluster checks the other bounds in the configuration of running proxies.
#[test]
fn sessions_are_not_resumed_and_circuit_breakers_do_not_trip_before_the_filters_bounds() {
    let mut config = config("");
    let filter = find(&objects(&config), "EnvoyFilter")["spec"]["configPatches"].clone();
    let mut sockets = filter.as_array().unwrap().iter().filter_map(|it| {
        it.pointer("/patch/value/transport_socket/typed_config").map(|tls| (&it["applyTo"], tls))
    });
    let (apply_to, tls) = sockets.next().unwrap();
    assert_eq!(apply_to, "FILTER_CHAIN");
    assert_eq!(tls["disable_stateless_session_resumption"], true);
    assert_eq!(tls["disable_stateful_session_resumption"], true);

    config.gateway.provider = Provider::EnvoyGateway;
    let objects = objects(&config);
    // Without `session`, Envoy Gateway disables session resumption.
    assert_eq!(find(&objects, "ClientTrafficPolicy")["spec"]["tls"].get("session"), None);
    let breaker = &find(&objects, "BackendTrafficPolicy")["spec"]["circuitBreaker"];
    for key in ["maxConnections", "maxPendingRequests", "maxParallelRequests", "maxParallelRetries"] {
        assert_eq!(breaker[key], 1 << 20, "{key}");
    }
}

/// The names of the HTTP filters that Istio's `patchHTTPFilters` makes of these by the EnvoyFilter: its patches apply
/// one after the other.
fn patched(filters: &[String], envoy_filter: &Value) -> Vec<String> {
    let mut filters = filters.to_vec();
    for patch in envoy_filter["spec"]["configPatches"].as_array().unwrap() {
        let sub = patch.pointer("/match/listener/filterChain/filter/subFilter/name").and_then(Value::as_str);
        let (Some(name), "HTTP_FILTER") = (sub, patch["applyTo"].as_str().unwrap()) else { continue };
        match patch["patch"]["operation"].as_str().unwrap() {
            "REMOVE" => filters.retain(|it| it != name),
            "INSERT_BEFORE" => {
                let at = filters.iter().position(|it| it == name).unwrap();
                filters.insert(at, patch["patch"]["value"]["name"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
    filters
}

#[test]
fn the_filter_is_in_the_chain_once_while_one_kind_replaces_the_other() {
    let config = config("");
    let of = |kind, replaces| {
        let module = Location::at(MODULE, None, "").unwrap();
        let installation =
            Installation { extension: Extension { kind, replaces }, ..installation(&config, module) };
        super::objects(&installation).unwrap()
    };
    let named = |kind: ExtensionKind| {
        let end = if kind == ExtensionKind::WasmPlugin { "~istio-translated-wasmplugin" } else { "" };
        format!("extensions.istio.io/trafficextension/otel-collector.otel-gateway{end}")
    };
    let (wasm, traffic) = (ExtensionKind::WasmPlugin, ExtensionKind::TrafficExtension);
    let (buffer, router) = ("envoy.filters.http.buffer".to_owned(), "envoy.filters.http.router".to_owned());
    for (kind, replaces, seen) in [
        (wasm, false, vec![wasm]),
        // istiod may have seen any of the objects when it sees the EnvoyFilter.
        (traffic, true, vec![wasm]),
        (traffic, true, vec![wasm, traffic]),
        (traffic, false, vec![traffic]),
        (traffic, false, vec![]),
        (wasm, true, vec![traffic]),
        (wasm, true, vec![traffic, wasm]),
        (wasm, true, vec![wasm]),
    ] {
        let objects = of(kind, replaces);
        let before: Vec<String> = seen.iter().map(|it| named(*it)).chain([router.clone()]).collect();
        let after = patched(&before, find(&objects, "EnvoyFilter"));
        assert_eq!(after, [named(kind), buffer.clone(), router.clone()], "{kind:?} {replaces} {seen:?}");
        let own: Vec<&str> =
            objects.iter().map(|it| it.kind.as_str()).filter(|it| *it == kind.name()).collect();
        assert_eq!(own.len(), 1);
        assert!(!objects.iter().any(|it| it.kind == kind.other().name()));
    }
}

#[test]
fn a_traffic_extension_has_the_same_filter_with_a_revision_of_its_own() {
    let (auto, set) = (config(""), config("gateway: {extension: TrafficExtension}"));
    let (wasm, traffic) = (objects(&auto), objects(&set));
    let (mut plugin, extension) =
        (find(&wasm, "WasmPlugin")["spec"].clone(), find(&traffic, "TrafficExtension")["spec"].clone());
    assert_eq!(plugin["targetRefs"], extension["targetRefs"]);
    let mut filter = extension["wasm"].clone();
    // The proxies' revision shows which of the two they have.
    assert_ne!(filter["pluginConfig"]["revision"], plugin["pluginConfig"]["revision"]);
    for it in [&mut plugin, &mut filter] {
        it["pluginConfig"].as_object_mut().unwrap().remove("revision");
    }
    plugin.as_object_mut().unwrap().remove("targetRefs");
    assert_eq!(plugin, filter);
}

#[test]
fn settings_of_pods_reach_every_pod() {
    let pod = "{labels: {team: a}, annotations: {note: b}, nodeSelector: {pool: c}, priorityClassName: high, \
               tolerations: [{key: d, operator: Exists}], imagePullSecrets: [{name: e}], \
               topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}], \
               resources: {requests: {cpu: '3'}, limits: {memory: 4Gi}}}";
    let text = format!(
        "gateway: {{pod: {pod}}}\nbackend: {{collector: {{pod: {pod}}}}}\nnodeLocal: {{enabled: true, pod: {pod}}}\n\
         quotas: {{engine: {{deploy: {{pod: {pod}}}}}}}"
    );
    for (provider, _) in PROVIDERS {
        let mut config = config(&text);
        config.gateway.provider = provider;
        let all = objects(&config);
        let template = |value: &Value| value["spec"]["template"].clone();
        let gateway = match provider {
            Provider::Istio => {
                let overlay = find_named(&all, "ConfigMap", "otel-gateway-deployment");
                let text = overlay["data"]["deployment"].as_str().unwrap();
                template(&serde_saphyr::from_str(text).unwrap())
            }
            Provider::EnvoyGateway => {
                let path = "/spec/provider/kubernetes/envoyDeployment/patch/value";
                template(find(&all, "EnvoyProxy").pointer(path).unwrap())
            }
        };
        let templates = [
            ("gateway", gateway),
            ("collector", template(find_named(&all, "Deployment", "otel-gateway-collector"))),
            ("quotas", template(find_named(&all, "Deployment", "otel-gateway-quotas"))),
            ("node", template(find(&all, "DaemonSet"))),
        ];
        for (what, template) in templates {
            assert_eq!(template["metadata"]["labels"]["team"], "a", "{what}");
            assert_eq!(template["metadata"]["annotations"]["note"], "b", "{what}");
            let spec = &template["spec"];
            assert_eq!(spec["nodeSelector"], json!({"pool": "c"}), "{what}");
            assert_eq!(spec["priorityClassName"], "high", "{what}");
            assert_eq!(spec["tolerations"], json!([{"key": "d", "operator": "Exists"}]), "{what}");
            assert_eq!(spec["imagePullSecrets"], json!([{"name": "e"}]), "{what}");
            let selector = &spec["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"];
            assert!(selector.as_object().is_some_and(|it| !it.is_empty()), "{what}: {selector}");
            let resources = &spec["containers"][0]["resources"];
            assert_eq!(
                (&resources["requests"]["cpu"], &resources["limits"]["memory"]),
                (&json!("3"), &json!("4Gi"))
            );
        }
        let collector = find_named(&all, "Deployment", "otel-gateway-collector");
        let container = &collector["spec"]["template"]["spec"]["containers"][0];
        let heap = container["env"].as_array().unwrap().iter().find(|it| it["name"] == "GOMEMLIMIT").unwrap();
        assert_eq!(heap["value"], "3276MiB", "the heap follows the memory limit");
        assert_eq!(container["resources"]["requests"]["memory"], "512Mi", "the default stays");
    }
}

#[test]
fn keys_come_from_secrets_into_the_collectors_pod() {
    let config = config(
        "backend: {collector: {env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: k}}}], \
         envFrom: [{secretRef: {name: f}}], volumes: [{name: ca, secret: {secretName: c}}], \
         volumeMounts: [{name: ca, mountPath: /etc/ca}]}}",
    );
    let all = objects(&config);
    let pod = &find_named(&all, "Deployment", "otel-gateway-collector")["spec"]["template"]["spec"];
    let has = |list: &Value, item: Value| list.as_array().is_some_and(|list| list.contains(&item));
    let container = &pod["containers"][0];
    assert!(has(
        &container["env"],
        json!({"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})
    ));
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": "f"}}]));
    assert!(has(&pod["volumes"], json!({"name": "ca", "secret": {"secretName": "c"}})));
    assert!(has(&container["volumeMounts"], json!({"name": "ca", "mountPath": "/etc/ca"})));
}

#[test]
fn profiles_are_taken_as_the_backend_is_configured() {
    for (text, taken) in [
        ("", false),
        ("backend: {collector: {profiles: true}}", true),
        ("backend: {service: {name: otel}}", true),
        ("backend: {service: {name: otel, profiles: false}}", false),
    ] {
        let config = config(text);
        assert_eq!(!config.policy().no_profiles, taken, "{text}");
        if !matches!(config.backend, Backend::Collector(_)) {
            continue;
        }
        let objects = objects(&config);
        let container = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let gate = json!("--feature-gates=service.profilesSupport");
        assert_eq!(container["args"].as_array().unwrap().contains(&gate), taken);
        let map = find_named(&objects, "ConfigMap", "otel-gateway-collector");
        assert_eq!(map["data"]["config.yaml"].as_str().unwrap().contains("filter/profiles:"), taken);
    }
}

/// The objects of a gate whose internal certificates are on this machine.
fn with_internal(config: &Config, internal: &Internal) -> Vec<Object> {
    let certificates = Certificates { internal: Some(internal.clone()), ..Certificates::default() };
    let module = Location::at(MODULE, None, "").unwrap();
    super::objects(&Installation::new(config, module, Mesh::from_config(config), certificates)).unwrap()
}

fn internal() -> Internal {
    let pair = |name: &str| KeyPair { certificate: format!("{name}.crt"), key: format!("{name}.key") };
    Internal {
        ca: "ca".to_owned(),
        issuer: "first".to_owned(),
        pairs: InternalCertificate::ALL.map(|it| (it, pair(it.name()))).into(),
    }
}

#[test]
fn the_gateway_authenticates_the_collector_and_itself() {
    let mut config = config("");
    let made = objects(&config);
    let rule = &find_named(&made, "DestinationRule", "otel-gateway-collector")["spec"];
    // Other proxies do not have the files.
    assert_eq!(
        rule["workloadSelector"]["matchLabels"]["gateway.networking.k8s.io/gateway-name"],
        "otel-gateway"
    );
    let host = "otel-gateway-collector.otel-collector.svc";
    let tls = &rule["trafficPolicy"]["tls"];
    assert_eq!((&tls["mode"], &tls["sni"]), (&"MUTUAL".into(), &host.into()));
    assert_eq!(tls["subjectAltNames"], json!([host]));
    let overlay = find_named(&made, "ConfigMap", "otel-gateway-deployment");
    let patch: Value = serde_saphyr::from_str(overlay["data"]["deployment"].as_str().unwrap()).unwrap();
    let pod = &patch["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "otel-gateway-backend-client");
    let folder = pod["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(tls["clientCertificate"], format!("{folder}/tls.crt"));
    assert_eq!(tls["privateKey"], format!("{folder}/tls.key"));
    assert_eq!(tls["caCertificates"], format!("{folder}/ca.crt"));

    config.gateway.provider = Provider::EnvoyGateway;
    let made = objects(&config);
    let policy = &find(&made, "BackendTLSPolicy")["spec"];
    assert_eq!(policy["targetRefs"][0]["name"], "otel-gateway-collector");
    assert_eq!(policy["validation"]["hostname"], host);
    assert_eq!(policy["validation"]["caCertificateRefs"][0]["name"], "otel-gateway-backend-client");
    let client = &find(&made, "EnvoyProxy")["spec"]["backendTLS"]["clientCertificateRef"];
    assert_eq!(client["name"], "otel-gateway-backend-client");
}

#[test]
fn the_collector_demands_a_certificate_unless_tls_is_off() {
    for (provider, _) in PROVIDERS {
        let mut config = config("");
        config.gateway.provider = provider;
        let receivers = |objects: &[Object]| {
            let text =
                find_named(objects, "ConfigMap", "otel-gateway-collector")["data"]["config.yaml"].clone();
            let collector: Value = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
            let protocols = collector["receivers"]["otlp"]["protocols"].clone();
            ["grpc", "http"].map(|it| protocols[it]["tls"]["client_ca_file"].clone())
        };
        let made = objects(&config);
        assert_eq!(receivers(&made), ["/etc/otlp-gate/ca.crt"; 2].map(Value::from));
        let pod = &find_named(&made, "Deployment", "otel-gateway-collector")["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][1]["secret"]["secretName"], "otel-gateway-collector");
        assert_eq!(pod["containers"][0]["volumeMounts"][1]["mountPath"], "/etc/otlp-gate");

        config.backend =
            Backend::Collector(Box::new(Collector { tls: TlsMode::Off, ..Collector::default() }));
        let made = with_internal(&config, &internal());
        assert_eq!(receivers(&made), [Value::Null, Value::Null]);
        let text = serde_json::to_string(&made.iter().map(|it| &it.value).collect::<Vec<_>>()).unwrap();
        for word in [
            "otel-gateway-backend-client",
            "BackendTLSPolicy",
            "backendTLS",
            "clientCertificate",
            "/etc/otlp-gate",
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }
}

#[test]
fn each_end_gets_only_its_own_key() {
    let config = config("nodeLocal: {enabled: true}");
    let made = with_internal(&config, &internal());
    let secrets = made.iter().filter(|it| it.kind == "Secret");
    let seen: Vec<_> = secrets
        .map(|it| {
            let data = |key: &str| {
                let bytes = data_encoding::BASE64.decode(it.value["data"][key].as_str().unwrap().as_bytes());
                String::from_utf8(bytes.unwrap()).unwrap()
            };
            assert_eq!((data("ca.crt"), it.value["data"].as_object().unwrap().len()), ("ca".to_owned(), 3));
            (it.namespace.clone().unwrap(), it.name.clone(), data("tls.key"))
        })
        .collect();
    let expected = [
        ("otel-collector", "otel-gateway-collector", "collector.key"),
        ("otel-collector", "otel-gateway-backend-client", "gateway.key"),
        ("otel-collector-node", "otel-gateway-node-client", "node.key"),
    ];
    let expected =
        expected.map(|(namespace, name, key)| (namespace.to_owned(), name.to_owned(), key.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn a_deployed_engine_and_the_proxies_authenticate_each_other() {
    for (provider, namespaces) in [
        (Provider::Istio, &["otel-collector"][..]),
        (Provider::EnvoyGateway, &["envoy-gateway-system", "otel-collector"]),
    ] {
        let (made, template, environment) = with_engine(provider, "{deploy: {}}");
        let host = "otel-gateway-quotas.otel-collector.svc";
        let cluster = engine_cluster_of(provider, &made);
        let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        assert_eq!(address["socket_address"]["address"], format!("{host}.cluster.local"), "{provider:?}");
        assert_eq!(address["socket_address"]["port_value"], 6379, "{provider:?}");
        let socket = cluster["transport_socket"].to_string();
        assert!(socket.contains(&format!("{{\"exact\":\"{host}\"}}")), "{socket}");
        assert!(socket.contains("tls_certificate_sds_secret_configs"), "{socket}");
        // It needs no password.
        assert_eq!(environment, Value::Null, "{provider:?}");
        let client = "otel-collector.otel-gateway-quotas-client";
        assert!(template.to_string().contains(client), "{template}");

        let mut config = config("quotas: {engine: {deploy: {}}}");
        config.gateway.provider = provider;
        config.backend =
            Backend::Collector(Box::new(Collector { tls: TlsMode::Off, ..Collector::default() }));
        let made = with_internal(&config, &internal());
        let secrets: Vec<_> = made.iter().filter(|it| it.kind == "Secret").collect();
        let key = |it: &Object| {
            let bytes =
                data_encoding::BASE64.decode(it.value["data"]["tls.key"].as_str().unwrap().as_bytes());
            String::from_utf8(bytes.unwrap()).unwrap()
        };
        let seen: Vec<_> =
            secrets.iter().map(|it| (it.namespace.as_deref().unwrap(), &*it.name, key(it))).collect();
        let server = ("otel-collector", "otel-gateway-quotas", "quotas.key".to_owned());
        let clients = namespaces.iter().map(|namespace| (*namespace, client, "gateway.key".to_owned()));
        assert_eq!(seen, [server].into_iter().chain(clients).collect::<Vec<_>>());
        let pod = &find_named(&made, "Deployment", "otel-gateway-quotas")["spec"]["template"]["spec"];
        assert!(pod["volumes"].to_string().contains("\"secretName\":\"otel-gateway-quotas\""), "{pod}");
        // Only the proxies may connect to it, and it to nothing.
        let policy = &find_named(&made, "NetworkPolicy", "otel-gateway-quotas")["spec"];
        assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!((&policy["egress"], policy["ingress"].as_array().unwrap().len()), (&Value::Null, 1));
        let from = policy["ingress"][0]["from"].as_array().unwrap();
        assert_eq!(from.len(), 1);
        assert!(from[0]["podSelector"]["matchLabels"].to_string().contains("otel-gateway"), "{from:?}");
    }
}

#[test]
fn a_gate_has_an_engine_only_if_it_uses_it() {
    for text in [
        "quotas: {scope: replica, engine: {deploy: {}}}",
        "gateway: {enabled: false}\nnodeLocal: {enabled: true, export: {gate: {endpoint: 'a.example:1', clientSecret: b}}}\nquotas: {engine: {deploy: {}}}",
        "quotas: {engine: {address: 'a:1', credentials: {secret: b}}}",
    ] {
        let made = objects(&config(text));
        assert!(made.iter().all(|it| !it.name.contains("quotas")), "{text}");
    }
}

#[test]
fn a_deployed_engine_keeps_nothing_and_has_memory_for_quotas() {
    let conf = |deploy: &str| {
        let made = objects(&config(&format!("quotas: {{engine: {{deploy: {deploy}}}}}")));
        let text = find_named(&made, "ConfigMap", "otel-gateway-quotas")["data"]["valkey.conf"].clone();
        let deployment = find_named(&made, "Deployment", "otel-gateway-quotas").clone();
        (text.as_str().unwrap().to_owned(), deployment)
    };
    let (text, deployment) = conf("{}");
    for line in ["save \"\"", "appendonly no", "port 0", "tls-auth-clients yes", "maxmemory 201326592"] {
        assert!(text.lines().any(|it| it == line), "{line} {text}");
    }
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let container = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container(&deployment)["resources"]["limits"]["memory"], "256Mi");
    let (text, deployment) =
        conf("{image: 'registry.example/valkey:9', pod: {resources: {limits: {memory: 1Gi}}}}");
    assert!(text.lines().any(|it| it == "maxmemory 805306368"), "{text}");
    assert_eq!(container(&deployment)["image"], "registry.example/valkey:9");
    assert_eq!(container(&deployment)["resources"]["limits"]["memory"], "1Gi");
}

#[test]
fn cert_manager_issues_the_certificates_of_a_deployed_engine() {
    let internal = "certificates: {certManager: {internal: {name: inside, kind: ClusterIssuer}}}";
    for (provider, expected) in [
        (Provider::Istio, &[("otel-collector", "otel-gateway-quotas-client")][..]),
        (
            Provider::EnvoyGateway,
            &[
                ("envoy-gateway-system", "otel-collector.otel-gateway-quotas-client"),
                ("otel-collector", "otel-gateway-quotas-client"),
            ],
        ),
    ] {
        let mut config = config(&format!("quotas: {{engine: {{deploy: {{}}}}}}\n{internal}"));
        config.gateway.provider = provider;
        let made = objects(&config);
        let server = &find_named(&made, "Certificate", "otel-gateway-quotas")["spec"];
        assert_eq!(server["dnsNames"][0], "otel-gateway-quotas.otel-collector.svc");
        assert_eq!(server["usages"], json!(["digital signature", "server auth"]));
        let secret = "otel-collector.otel-gateway-quotas-client";
        let clients = made.iter().filter(|it| it.value["spec"]["secretName"] == secret);
        let seen: Vec<_> = clients.map(|it| (it.namespace.as_deref().unwrap(), &*it.name)).collect();
        assert_eq!(seen, expected, "{provider:?}");
    }
}

#[test]
fn pods_are_replaced_when_a_ca_changes_and_not_when_a_certificate_is_renewed() {
    let config = config("nodeLocal: {enabled: true}\nquotas: {engine: {deploy: {}}}");
    let digests = |internal: &Internal| {
        let made = with_internal(&config, internal);
        let [collector, engine, node] = [
            ("Deployment", "otel-gateway-collector"),
            ("Deployment", "otel-gateway-quotas"),
            ("DaemonSet", "otel-gateway-node"),
        ]
        .map(|(kind, name)| {
            let template = &find_named(&made, kind, name)["spec"]["template"];
            template["metadata"]["annotations"]["otlp-gate.io/config"].clone()
        });
        let overlay = find_named(&made, "ConfigMap", "otel-gateway-deployment");
        let patch: Value = serde_saphyr::from_str(overlay["data"]["deployment"].as_str().unwrap()).unwrap();
        let gateway =
            patch["spec"]["template"]["metadata"]["annotations"]["otlp-gate.io/internal-ca"].clone();
        let mut other = config.clone();
        other.gateway.provider = Provider::EnvoyGateway;
        let made = with_internal(&other, internal);
        let pod = find(&made, "EnvoyProxy").pointer("/spec/provider/kubernetes/envoyDeployment/pod").unwrap();
        [collector, engine, node, gateway, pod["annotations"]["otlp-gate.io/internal-ca"].clone()]
    };
    let before = internal();
    let mut renewed = before.clone();
    renewed.pairs.values_mut().for_each(|pair| pair.certificate.push('2'));
    assert_eq!(digests(&renewed), digests(&before));
    let trusted = Internal { ca: "ca and another".to_owned(), ..before.clone() };
    let issued = Internal { issuer: "second".to_owned(), ..before.clone() };
    for changed in [trusted, issued] {
        for (now, then) in digests(&changed).into_iter().zip(digests(&before)) {
            assert_ne!(now, then);
        }
    }
}

#[test]
fn cert_manager_issues_the_node_local_gateways_certificate_from_a_cluster_issuer_only() {
    let text = |internal: &str| {
        format!("certificates: {{certManager: {{{internal}}}}}\nnodeLocal: {{enabled: true}}")
    };
    let source = |internal: &str| {
        let text = format!(
            "apiVersion: otlp-gate/v1\nclients: [{{name: a, match: {{dns: a.example}}}}]\n{}",
            text(internal)
        );
        Source { name: "test".to_owned(), text }.load()
    };
    for internal in ["", "internal: {name: inside}"] {
        let report = source(internal).unwrap_err().to_string();
        assert!(report.contains("an Issuer cannot issue its certificate"), "{report}");
        assert!(report.contains("kind: ClusterIssuer"), "{report}");
    }
    let config = config(&text("internal: {name: inside, kind: ClusterIssuer}"));
    let made = objects(&config);
    let certificate =
        made.iter().find(|it| it.kind == "Certificate" && it.name == "otel-gateway-node-client").unwrap();
    assert_eq!(certificate.namespace.as_deref(), Some("otel-collector-node"));
    assert_eq!(certificate.value["spec"]["issuerRef"]["kind"], "ClusterIssuer");
    assert_eq!(certificate.value["spec"]["usages"], json!(["digital signature", "client auth"]));
    let collector = find_named(&made, "Certificate", "otel-gateway-collector");
    assert_eq!(collector["spec"]["dnsNames"][0], "otel-gateway-collector.otel-collector.svc");
    assert_eq!(collector["spec"]["usages"], json!(["digital signature", "server auth"]));
}

#[test]
fn the_gateway_authenticates_a_service_of_the_users_own() {
    let service = |provider: Provider, tls: &str| {
        let mut config =
            config(&format!("backend: {{service: {{name: otel, namespace: elsewhere, tls: {{{tls}}}}}}}"));
        config.gateway.provider = provider;
        objects(&config)
    };
    let both = "caConfigMap: ca, clientSecret: client";
    let made = service(Provider::Istio, both);
    let rule = find_named(&made, "DestinationRule", "otel-gateway-backend");
    // A proxy's own namespace comes before the Service's.
    assert_eq!(rule["metadata"]["namespace"], "otel-collector");
    assert_eq!(rule["spec"]["host"], "otel.elsewhere.svc.cluster.local");
    let gateway = &rule["spec"]["workloadSelector"]["matchLabels"]["gateway.networking.k8s.io/gateway-name"];
    assert_eq!(gateway, "otel-gateway");
    let tls = &rule["spec"]["trafficPolicy"]["tls"];
    assert_eq!((&tls["mode"], &tls["sni"]), (&"MUTUAL".into(), &"otel.elsewhere.svc".into()));
    let volumes = |made: &[Object]| {
        let overlay = find_named(made, "ConfigMap", "otel-gateway-deployment");
        let patch: Value = serde_saphyr::from_str(overlay["data"]["deployment"].as_str().unwrap()).unwrap();
        patch["spec"]["template"]["spec"]["volumes"].clone()
    };
    let sources = volumes(&made)[0]["projected"]["sources"].clone();
    assert_eq!(
        (&sources[0]["configMap"]["name"], &sources[1]["secret"]["name"]),
        (&"ca".into(), &"client".into())
    );

    let made = service(Provider::Istio, "caConfigMap: ca, serverName: otel.example");
    let tls = &find(&made, "DestinationRule")["spec"]["trafficPolicy"]["tls"];
    assert_eq!((&tls["mode"], &tls["subjectAltNames"]), (&"SIMPLE".into(), &json!(["otel.example"])));
    assert_eq!(
        (&tls["clientCertificate"], &tls["caCertificates"]),
        (&Value::Null, &"/etc/otlp-gate/ca.crt".into())
    );

    let made = service(Provider::Istio, "mesh: true");
    let rule = &find(&made, "DestinationRule")["spec"];
    assert_eq!(rule["trafficPolicy"]["tls"], json!({"mode": "ISTIO_MUTUAL"}));
    assert_eq!(volumes(&made), Value::Null);

    let made = service(Provider::EnvoyGateway, both);
    let policy = find(&made, "BackendTLSPolicy");
    // A policy is in the namespace of its Service, where another gate may have one for the same Service.
    assert_eq!(policy["metadata"]["namespace"], "elsewhere");
    assert_eq!(policy["metadata"]["name"], "otel-collector.otel-gateway");
    assert_eq!(policy["spec"]["targetRefs"][0]["name"], "otel");
    let ca = json!({"hostname": "otel.elsewhere.svc", "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]});
    assert_eq!(policy["spec"]["validation"], ca);
    let client = |made: &[Object]| find(made, "EnvoyProxy")["spec"]["backendTLS"].clone();
    assert_eq!(client(&made)["clientCertificateRef"]["name"], "client");
    assert_eq!(client(&service(Provider::EnvoyGateway, "caConfigMap: ca")), Value::Null);
}

#[test]
fn a_durable_queue_is_on_a_volume_of_each_replica() {
    let config = config(
        "backend: {collector: {queue: durable, queueVolume: {size: 3GiB, storageClassName: fast}, replicas: 2, maxReplicas: 4, exporters: {otlp_grpc: {}, loadbalancing: {}, otlp_http: {sending_queue: {wait_for_result: true}}}}}",
    );
    let objects = objects(&config);
    assert!(objects.iter().all(|object| object.kind != "Deployment"));
    let set = &find(&objects, "StatefulSet")["spec"];
    let claim = &set["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "3Gi");
    assert_eq!(claim["spec"]["storageClassName"], "fast");
    let pod = &set["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&json!({"name": claim["metadata"]["name"], "mountPath": "/var/lib/otelcol"})));
    assert_eq!(pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsUser"]);
    // The Service and the PodDisruptionBudget select these pods, and those of a Deployment that is replaced.
    let labels = set["template"]["metadata"]["labels"].as_object().unwrap();
    let service = find_named(&objects, "Service", "otel-gateway-collector");
    assert!(
        service["spec"]["selector"].as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
    );
    let autoscaler = find(&objects, "HorizontalPodAutoscaler");
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["kind"], "StatefulSet");

    let map = find_named(&objects, "ConfigMap", "otel-gateway-collector");
    let text = map["data"]["config.yaml"].as_str().unwrap();
    let collector: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(collector["extensions"]["file_storage"]["fsync"], true);
    let exporters = &collector["exporters"];
    // A quarter of 3 GiB for six queues: two exporters, each for three signals.
    let queue = json!({"storage": "file_storage", "sizer": "bytes", "queue_size": 134_217_728});
    assert_eq!(exporters["loadbalancing"]["sending_queue"], queue);
    assert_eq!(exporters["loadbalancing"]["protocol"]["otlp"]["sending_queue"]["wait_for_result"], true);
    assert_eq!(exporters["otlp_grpc"]["sending_queue"]["queue_size"], 134_217_728);
    assert_eq!(exporters["otlp_grpc"]["retry_on_failure"]["max_elapsed_time"], "0s");
    // One that is made to wait for delivery does so.
    assert_eq!(exporters["otlp_http"]["sending_queue"], json!({"wait_for_result": true}));
}
