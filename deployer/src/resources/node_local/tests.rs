use serde_json::{Value, json};

use crate::config::{Config, Source};
use crate::model::{Certificates, DataPlaneMode, Installation, Mesh, Object};
use crate::module::Location;
use crate::render::{self, KINDS};

/// The objects of a config whose `nodeLocal` also has these keys.
fn objects(node: &str, mesh: Mesh) -> Vec<Object> {
    super::objects(&installation(&config(node, ""), mesh)).unwrap()
}

fn installation(config: &Config, mesh: Mesh) -> Installation<'_> {
    let module = Location::at("oci://registry.example/otlp-gate:1", None, "").unwrap();
    Installation::new(config, module, mesh, Certificates::default())
}

fn config(node: &str, more: &str) -> Config {
    let text = format!(
        "apiVersion: otlp-gate/v1\nclients: [{{name: a, match: {{dns: a.example}}, attributes: {{tenant.id: a}}}}]\n\
         nodeLocal: {{enabled: true{node}}}\n{more}"
    );
    let source = Source { name: "test".to_owned(), text };
    source.load().unwrap_or_else(|report| panic!("{report}")).config
}

fn find<'a>(objects: &'a [Object], kind: &str) -> &'a Value {
    &objects.iter().find(|object| object.kind == kind).unwrap_or_else(|| panic!("no {kind}")).value
}

fn collector(objects: &[Object]) -> Value {
    let text = find(objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap();
    serde_saphyr::from_str(text).unwrap()
}

fn pod(objects: &[Object]) -> &Value {
    &find(objects, "DaemonSet")["spec"]["template"]
}

const NO_MESH: Mesh = Mesh { present: false, node_local: DataPlaneMode::None };
const MODES: [&str; 3] = ["", ", acknowledge: delivered", ", queue: durable"];
const GATE: &str = ", export: {gate: {endpoint: \"gate.example:4317\", clientSecret: edge}}";

#[test]
fn the_service_routes_to_the_pods_own_node_only() {
    for mode in MODES {
        let objects = objects(mode, NO_MESH);
        let service = find(&objects, "Service");
        assert_eq!(service["spec"]["internalTrafficPolicy"], "Local");
        assert_eq!(
            service["spec"]["selector"],
            find(&objects, "DaemonSet")["spec"]["selector"]["matchLabels"]
        );
        let ports: Vec<_> =
            service["spec"]["ports"].as_array().unwrap().iter().map(|it| &it["port"]).collect();
        assert_eq!(ports, [4317, 4318]);
    }
}

#[test]
fn all_kinds_are_pruned_and_namespaced_objects_are_in_one_namespace() {
    for mode in MODES {
        for object in objects(mode, Mesh { present: true, node_local: DataPlaneMode::Sidecar }) {
            assert!(
                object.kind == "Namespace" || KINDS.contains(&(object.api_version(), object.kind.as_str())),
                "{object:?}"
            );
            let namespace = &object.value["metadata"]["namespace"];
            let global = ["Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding"];
            let expected = (!global.contains(&object.kind.as_str())).then_some("otel-collector-node");
            assert_eq!(namespace.as_str(), expected, "{object:?}");
        }
    }
}

#[test]
fn a_new_pod_starts_beside_the_old_one_and_with_a_durable_queue_after_it() {
    for (mode, surge, unavailable) in [("", 1, 0), (", queue: durable", 0, 1)] {
        let objects = objects(mode, NO_MESH);
        let update = &find(&objects, "DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"];
        assert_eq!(update, &json!({"maxSurge": surge, "maxUnavailable": unavailable}), "{mode}");
    }
}

#[test]
fn pod_security_is_the_strictest_level_that_admits_the_pods() {
    let sidecar = Mesh { present: true, node_local: DataPlaneMode::Sidecar };
    for (mode, mesh, level) in [
        ("", NO_MESH, "restricted"),
        ("", Mesh { present: true, node_local: DataPlaneMode::Ambient }, "restricted"),
        ("", sidecar, "privileged"),
        (", queue: durable", NO_MESH, "privileged"),
    ] {
        let objects = objects(mode, mesh);
        let labels = &find(&objects, "Namespace")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], level, "{mode} {mesh:?}");
        let container = &pod(&objects)["spec"]["containers"][0]["securityContext"];
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
    }
}

#[test]
fn only_a_durable_queue_mounts_a_host_path_and_runs_as_root() {
    let folder = |objects: &[Object]| {
        let volumes = pod(objects)["spec"]["volumes"].as_array().unwrap().clone();
        volumes.iter().find_map(|it| it["hostPath"]["path"].as_str().map(str::to_owned))
    };
    let memory = objects("", NO_MESH);
    assert_eq!(folder(&memory), None);
    assert_eq!(pod(&memory)["spec"]["securityContext"]["runAsNonRoot"], true);
    let durable = objects(", queue: durable", NO_MESH);
    // Gates on the same node have different folders.
    assert_eq!(folder(&durable).as_deref(), Some("/var/lib/otlp-gate/otel-collector-node-otel-gateway-node"));
    assert_eq!(pod(&durable)["spec"]["securityContext"]["runAsUser"], 0);
}

#[test]
fn nodes_that_share_a_file_system_have_separate_queues() {
    let config = collector(&objects(", queue: durable", NO_MESH));
    let storage = &config["extensions"]["file_storage"];
    assert_eq!(storage["directory"], "/var/lib/otelcol/${env:KUBE_NODE_NAME}");
    assert_eq!(storage["compaction"]["directory"], storage["directory"]);
    assert_eq!(config["service"]["extensions"], json!(["file_storage", "health_check"]));
}

#[test]
fn the_queue_and_retries_follow_from_acknowledge_and_queue() {
    let queue = |mode: &str| {
        let mut exporter = collector(&objects(mode, NO_MESH))["exporters"]["otlp_grpc"].clone();
        let settings = &mut exporter["sending_queue"];
        settings.as_object_mut().unwrap().remove("batch").unwrap();
        (settings.clone(), exporter["retry_on_failure"].clone())
    };
    let forever = json!({"max_elapsed_time": "0s", "max_interval": "10s"});
    let memory = json!({"sizer": "bytes", "queue_size": 48 << 20});
    assert_eq!(queue(""), (memory, forever.clone()));
    let delivered = json!({"sizer": "bytes", "queue_size": 48 << 20, "wait_for_result": true});
    assert_eq!(queue(", acknowledge: delivered"), (delivered, Value::Null));
    let durable = json!({"sizer": "bytes", "queue_size": 1 << 30, "storage": "file_storage"});
    assert_eq!(queue(", queue: durable"), (durable, forever));
}

#[test]
fn settings_of_the_users_exporters_are_kept() {
    let own = ", export: {exporters: {otlp_http/a: {endpoint: \"https://x\", sending_queue: {queue_size: 5}}, debug: null}}";
    let config = collector(&objects(own, NO_MESH));
    assert_eq!(config["exporters"]["otlp_http/a"]["sending_queue"], json!({"queue_size": 5}));
    assert_eq!(config["service"]["pipelines"]["logs"]["exporters"], json!(["debug", "otlp_http/a"]));
}

#[test]
fn it_exports_to_the_backend_or_to_another_gate() {
    let endpoint = |node: &str, more: &str| {
        let config = config(node, more);
        let exporters = &collector(&super::objects(&installation(&config, NO_MESH)).unwrap())["exporters"];
        (
            exporters["otlp_grpc"]["endpoint"].as_str().unwrap().to_owned(),
            exporters["otlp_grpc"]["tls"].clone(),
        )
    };
    let folder = "/etc/otlp-gate";
    let tls = json!({
        "ca_file": format!("{folder}/ca.crt"), "cert_file": format!("{folder}/tls.crt"),
        "key_file": format!("{folder}/tls.key"), "reload_interval": "30s",
    });
    let plain = json!({"insecure": true});
    let collector = "otel-gateway-collector.otel-collector.svc:4317".to_owned();
    assert_eq!(endpoint("", ""), (collector.clone(), tls.clone()));
    assert_eq!(endpoint("", "backend: {collector: {tls: off}}"), (collector, plain.clone()));
    assert_eq!(
        endpoint("", "backend: {service: {name: otel, namespace: elsewhere, grpc: 9}}"),
        ("otel.elsewhere.svc:9".to_owned(), plain.clone())
    );
    let service = |more: &str| {
        endpoint("", &format!("backend: {{service: {{name: otel, namespace: elsewhere, tls: {{{more}}}}}}}"))
            .1
    };
    assert_eq!(service("caConfigMap: ca, clientSecret: client"), tls);
    let mut other = json!({"ca_file": format!("{folder}/ca.crt"), "reload_interval": "30s"});
    assert_eq!(service("caConfigMap: ca"), other);
    other["server_name_override"] = json!("otel.example");
    assert_eq!(service("caConfigMap: ca, serverName: otel.example"), other);
    assert_eq!(service("mesh: true"), plain);
    assert_eq!(endpoint(GATE, ""), ("gate.example:4317".to_owned(), tls.clone()));
    // The system's CAs verify the server where no file is named.
    let mut system = tls;
    system.as_object_mut().unwrap().remove("ca_file");
    let public = GATE.replace("clientSecret", "serverCA: public, clientSecret");
    assert_eq!(endpoint(&public, ""), ("gate.example:4317".to_owned(), system));
    let objects = objects(GATE, NO_MESH);
    let mounts = &pod(&objects)["spec"]["containers"][0]["volumeMounts"];
    // Not a subPath, which is not updated when the certificate is renewed.
    assert!(
        mounts
            .as_array()
            .unwrap()
            .contains(&json!({"name": "certificate", "mountPath": folder, "readOnly": true}))
    );
}

#[test]
fn its_certificate_for_the_collector_is_not_the_gateways_and_is_in_its_own_namespace() {
    let secret = |objects: &[Object]| {
        let spec = &pod(objects)["spec"];
        let volume = spec["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "certificate");
        volume.map(|it| it["secret"]["secretName"].as_str().unwrap().to_owned())
    };
    assert_eq!(secret(&objects("", NO_MESH)).as_deref(), Some("otel-gateway-node-client"));
    let config = config("", "backend: {collector: {tls: off}}");
    assert_eq!(secret(&super::objects(&installation(&config, NO_MESH)).unwrap()), None);
    assert_eq!(secret(&objects(GATE, NO_MESH)).as_deref(), Some("edge"));
    // Its connection has TLS of its own, which a sidecar would read as HTTP/2.
    let sidecar = objects("", Mesh { present: true, node_local: DataPlaneMode::Sidecar });
    let annotations = &pod(&sidecar)["metadata"]["annotations"];
    assert_eq!(annotations["traffic.sidecar.istio.io/excludeOutboundPorts"], "4317");
}

#[test]
fn it_presents_the_certificate_that_a_service_of_the_users_own_demands() {
    let backend = "backend: {service: {name: otel, grpc: 9, tls: {caConfigMap: ca, clientSecret: client}}}";
    let config = config("", backend);
    let sidecar = Mesh { present: true, node_local: DataPlaneMode::Sidecar };
    let objects = super::objects(&installation(&config, sidecar)).unwrap();
    let template = pod(&objects);
    let volume =
        template["spec"]["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "certificate");
    let sources = json!([
        {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"secret": {"name": "client", "items": [
            {"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"},
        ]}},
    ]);
    assert_eq!(volume.unwrap()["projected"]["sources"], sources);
    assert_eq!(template["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeOutboundPorts"], "9");
}

#[test]
fn it_joins_the_mesh_of_a_backend_in_the_mesh() {
    let meshed = "backend: {service: {name: otel, tls: {mesh: true}}}";
    let sidecar = Mesh { present: true, node_local: DataPlaneMode::Sidecar };
    assert_eq!(Mesh::from_config(&config("", meshed)), sidecar);
    assert_eq!(Mesh::from_config(&config("", "")).node_local, DataPlaneMode::None);
    // It does not send to the backend.
    assert_eq!(Mesh::from_config(&config(GATE, meshed)).node_local, DataPlaneMode::None);
}

#[test]
fn a_sidecar_is_injected_only_if_needed_and_handles_outbound_connections_only() {
    for (node_local, inject, mode, capture) in [
        (DataPlaneMode::None, "false", "none", Value::Null),
        (DataPlaneMode::Sidecar, "true", "none", json!("")),
        (DataPlaneMode::Ambient, "false", "ambient", Value::Null),
    ] {
        let objects = objects("", Mesh { present: true, node_local });
        let metadata = &pod(&objects)["metadata"];
        assert_eq!(metadata["labels"]["sidecar.istio.io/inject"], inject);
        assert_eq!(metadata["labels"]["istio.io/dataplane-mode"], mode);
        assert_eq!(metadata["annotations"]["traffic.sidecar.istio.io/includeInboundPorts"], capture);
    }
}

#[test]
fn with_a_mesh_clients_send_plain_text_and_the_proxies_spans_are_dropped() {
    let without = objects("", NO_MESH);
    assert!(without.iter().all(|it| it.kind != "DestinationRule"));
    assert_eq!(collector(&without)["processors"]["filter/mesh"], Value::Null);
    let with = objects("", Mesh { present: true, node_local: DataPlaneMode::None });
    let rule = &find(&with, "DestinationRule")["spec"];
    assert_eq!(rule["host"], "otel-gateway-node.otel-collector-node.svc.cluster.local");
    assert_eq!(rule["trafficPolicy"]["tls"]["mode"], "DISABLE");
    let pipelines = &collector(&with)["service"]["pipelines"];
    assert_eq!(pipelines["traces"]["processors"][1], "filter/mesh");
    assert!(!pipelines["logs"]["processors"].as_array().unwrap().contains(&"filter/mesh".into()));
}

#[test]
fn owned_attributes_are_removed_before_the_gates_are_set() {
    let config = collector(&objects(", clients: [{name: a, match: {namespace: a}}]", NO_MESH));
    let order = json!([
        "memory_limiter",
        "transform/unclaimed",
        "k8s_attributes",
        "transform/unknown",
        "transform/clients"
    ]);
    for signal in ["logs", "metrics", "traces"] {
        assert_eq!(config["service"]["pipelines"][signal]["processors"], order);
    }
    let association = &config["processors"]["k8s_attributes"]["pod_association"];
    // Not by an attribute, which the pod could set.
    assert_eq!(association, &json!([{"sources": [{"from": "connection"}]}]));
}

#[test]
fn the_collectors_network_policy_admits_the_node_local_gateway() {
    let config = config("", "");
    let all = render::objects(&installation(&config, NO_MESH)).unwrap();
    let policies = all.iter().filter(|it| it.kind == "NetworkPolicy");
    let policy = policies.into_iter().find(|it| it.name == "otel-gateway-collector").unwrap();
    let from = policy.value["spec"]["ingress"][0]["from"].as_array().unwrap();
    assert!(from.iter().any(|it| {
        it["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "otel-collector-node"
            && it["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "otel-gateway-node"
    }));
}

#[test]
fn without_a_gateway_only_node_local_objects_are_rendered() {
    let config = config(GATE, "gateway: {enabled: false}");
    let installation = installation(&config, NO_MESH);
    let kinds = |objects: Vec<Object>| objects.into_iter().map(|it| it.kind).collect::<Vec<_>>();
    assert_eq!(kinds(render::objects(&installation).unwrap()), kinds(super::objects(&installation).unwrap()));
    assert!(!installation.expects_server_certificate());
}

#[test]
fn without_a_cluster_the_mesh_follows_from_the_config() {
    let mesh = |node: &str, more: &str| Mesh::from_config(&config(node, more));
    let envoy = "gateway: {provider: envoy-gateway}";
    assert_eq!(mesh("", envoy), NO_MESH);
    // With Istio's gateway, Istio is there.
    assert_eq!(mesh("", ""), Mesh { present: true, node_local: DataPlaneMode::None });
    assert_eq!(mesh(", mesh: off", ""), NO_MESH);
    assert_eq!(mesh(", mesh: on", envoy), Mesh { present: true, node_local: DataPlaneMode::Sidecar });
}

#[test]
fn senders_with_an_unknown_address_are_rejected_unless_the_config_accepts_them() {
    let processors = |node: &str| {
        let collector = collector(&objects(node, NO_MESH));
        let used = |signal: &str| collector["service"]["pipelines"][signal]["processors"].clone();
        let used: Vec<Value> = ["traces", "metrics", "logs"].map(used).into();
        (collector["processors"].clone(), used)
    };
    let (all, used) = processors("");
    for used in used {
        let place = |name: &str| used.as_array().unwrap().iter().position(|it| it == name);
        assert!(place("k8s_attributes") < place("transform/unknown"), "{used}");
    }
    assert_eq!(all["transform/unknown"]["error_mode"], "propagate");
    for signal in ["trace", "metric", "log"] {
        let statement = &all["transform/unknown"][format!("{signal}_statements")][0]["statements"][0];
        let statement = statement.as_str().unwrap();
        assert!(statement.ends_with(r#" where resource.attributes["k8s.pod.uid"] == nil"#), "{statement}");
    }
    let (all, used) = processors(", unknownSenders: accept");
    assert_eq!(all.get("transform/unknown"), None);
    assert!(used.iter().all(|it| !it.to_string().contains("unknown")));
}

#[test]
fn the_address_of_a_finished_or_deleted_pod_identifies_no_pod() {
    let place = collector(&objects("", NO_MESH))["processors"]["k8s_attributes"].clone();
    assert_eq!(place["pod_delete_grace_period"], "0s");
    let ended = place["filter"]["fields"].as_array().unwrap().iter();
    let ended: Vec<_> =
        ended.map(|it| (it["key"].as_str().unwrap(), it["value"].as_str().unwrap())).collect();
    assert_eq!(ended, [("status.phase", "Succeeded"), ("status.phase", "Failed")]);
}
