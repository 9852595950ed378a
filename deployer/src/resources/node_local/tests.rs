use serde_json::{Value, json};

use crate::config::{Config, Source};
use crate::model::{Certificates, DataPlaneMode, Installation, Mesh, Object};
use crate::module::Location;
use crate::render::{self, KINDS};

/// What is made of a config with a gateway on every node that has these keys as well.
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
fn a_pod_is_led_to_its_own_node_only() {
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
fn what_it_owns_is_pruned_and_has_one_namespace_of_its_own() {
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
fn a_queue_in_memory_is_replaced_beside_the_old_one_and_one_on_disk_after_it() {
    for (mode, surge, unavailable) in [("", 1, 0), (", queue: durable", 0, 1)] {
        let objects = objects(mode, NO_MESH);
        let update = &find(&objects, "DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"];
        assert_eq!(update, &json!({"maxSurge": surge, "maxUnavailable": unavailable}), "{mode}");
    }
}

#[test]
fn pod_security_is_as_strict_as_what_the_pods_need() {
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
fn only_a_durable_queue_has_a_folder_of_the_node_and_root_to_write_there() {
    let folder = |objects: &[Object]| {
        let volumes = pod(objects)["spec"]["volumes"].as_array().unwrap().clone();
        volumes.iter().find_map(|it| it["hostPath"]["path"].as_str().map(str::to_owned))
    };
    let memory = objects("", NO_MESH);
    assert_eq!(folder(&memory), None);
    assert_eq!(pod(&memory)["spec"]["securityContext"]["runAsNonRoot"], true);
    let durable = objects(", queue: durable", NO_MESH);
    // Two gates on one node have two folders.
    assert_eq!(folder(&durable).as_deref(), Some("/var/lib/otlp-gate/otel-collector-node-otel-gateway-node"));
    assert_eq!(pod(&durable)["spec"]["securityContext"]["runAsUser"], 0);
}

#[test]
fn two_nodes_that_share_a_file_system_have_a_queue_each() {
    let config = collector(&objects(", queue: durable", NO_MESH));
    let storage = &config["extensions"]["file_storage"];
    assert_eq!(storage["directory"], "/var/lib/otelcol/${env:KUBE_NODE_NAME}");
    assert_eq!(storage["compaction"]["directory"], storage["directory"]);
    assert_eq!(config["service"]["extensions"], json!(["file_storage", "health_check"]));
}

#[test]
fn a_pod_is_told_as_the_mode_says_and_nothing_that_was_answered_is_given_up() {
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
fn what_the_user_wrote_of_an_exporter_stays() {
    let own = ", export: {exporters: {otlp_http/a: {endpoint: \"https://x\", sending_queue: {queue_size: 5}}, debug: null}}";
    let config = collector(&objects(own, NO_MESH));
    assert_eq!(config["exporters"]["otlp_http/a"]["sending_queue"], json!({"queue_size": 5}));
    assert_eq!(config["service"]["pipelines"]["logs"]["exporters"], json!(["debug", "otlp_http/a"]));
}

#[test]
fn it_sends_to_this_gates_collector_or_to_its_service_or_to_another_gate_as_a_client() {
    let endpoint = |node: &str, more: &str| {
        let config = config(node, more);
        let exporters = &collector(&super::objects(&installation(&config, NO_MESH)).unwrap())["exporters"];
        (
            exporters["otlp_grpc"]["endpoint"].as_str().unwrap().to_owned(),
            exporters["otlp_grpc"]["tls"].clone(),
        )
    };
    let plain = json!({"insecure": true});
    assert_eq!(
        endpoint("", ""),
        ("otel-gateway-collector.otel-collector.svc:4317".to_owned(), plain.clone())
    );
    assert_eq!(
        endpoint("", "backend: {service: {name: otel, namespace: elsewhere, grpc: 9}}"),
        ("otel.elsewhere.svc:9".to_owned(), plain)
    );
    let folder = "/etc/otlp-gate";
    let tls = json!({
        "ca_file": format!("{folder}/ca.crt"), "cert_file": format!("{folder}/tls.crt"),
        "key_file": format!("{folder}/tls.key"), "reload_interval": "30s",
    });
    assert_eq!(endpoint(GATE, ""), ("gate.example:4317".to_owned(), tls));
    let objects = objects(GATE, NO_MESH);
    let mounts = &pod(&objects)["spec"]["containers"][0]["volumeMounts"];
    // Not a subPath, which would never see the renewed certificate.
    assert!(
        mounts
            .as_array()
            .unwrap()
            .contains(&json!({"name": "certificate", "mountPath": folder, "readOnly": true}))
    );
}

#[test]
fn a_sidecar_is_only_for_what_is_sent_and_only_where_it_is_needed() {
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
fn where_there_is_a_mesh_its_clients_are_told_to_send_plain_text_and_its_own_spans_are_dropped() {
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
fn no_telemetry_is_stamped_before_what_it_claims_is_gone() {
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
    // Not by an attribute, which the pod could write.
    assert_eq!(association, &json!([{"sources": [{"from": "connection"}]}]));
}

#[test]
fn the_collector_lets_the_nodes_gateways_in() {
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
fn without_a_gateway_there_is_nothing_but_what_is_on_the_nodes() {
    let config = config(GATE, "gateway: {enabled: false}");
    let installation = installation(&config, NO_MESH);
    let kinds = |objects: Vec<Object>| objects.into_iter().map(|it| it.kind).collect::<Vec<_>>();
    assert_eq!(kinds(render::objects(&installation).unwrap()), kinds(super::objects(&installation).unwrap()));
    assert!(!installation.expects_certificates());
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
fn a_sender_of_unknown_address_is_refused_before_anything_is_stamped_unless_the_config_accepts_it() {
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
fn the_address_of_a_pod_that_has_ended_or_is_gone_is_nobodys() {
    let place = collector(&objects("", NO_MESH))["processors"]["k8s_attributes"].clone();
    assert_eq!(place["pod_delete_grace_period"], "0s");
    let ended = place["filter"]["fields"].as_array().unwrap().iter();
    let ended: Vec<_> =
        ended.map(|it| (it["key"].as_str().unwrap(), it["value"].as_str().unwrap())).collect();
    assert_eq!(ended, [("status.phase", "Succeeded"), ("status.phase", "Failed")]);
}
