use crate::config::{Severity, Source};

/// What is found in a config with these keys under `backend.collector`, each as its place, what is said and the hint.
fn found(collector: &str) -> Vec<(Severity, String, String, String)> {
    let text = format!(
        "apiVersion: otlp-gate/v1\n\
         attributes: {{otlp_gate.client: \"{{name}}\", host.name: \"{{name}}\"}}\n\
         clients:\n\
         - {{name: acme, match: {{dns: acme.example}}, attributes: {{tenant.id: acme}}}}\n\
         - {{name: globex, match: {{dns: globex.example}}, attributes: {{tenant.id: globex}}}}\n\
         backend: {{collector: {{{collector}}}}}\n"
    );
    let source = Source { name: "test".to_owned(), text };
    let report = match source.load() {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    };
    let findings = report.findings.into_iter();
    findings.map(|it| (it.severity, it.path, it.message, it.hint.unwrap_or_default())).collect()
}

/// Exactly one finding, at this place under `backend.collector`, with this text in its message and in its hint.
#[track_caller]
fn only(severity: Severity, collector: &str, path: &str, message: &str, hint: &str) {
    let all = found(collector);
    let [one] = all.as_slice() else { panic!("{collector}: {all:#?}") };
    assert_eq!((one.0, one.1.as_str()), (severity, format!("backend.collector.{path}").as_str()), "{one:?}");
    assert!(one.2.contains(message) && one.3.contains(hint), "{one:?}");
}

#[track_caller]
fn error(collector: &str, path: &str, message: &str, hint: &str) {
    only(Severity::Error, collector, path, message, hint);
}

#[track_caller]
fn warning(collector: &str, path: &str, message: &str, hint: &str) {
    only(Severity::Warning, collector, path, message, hint);
}

#[test]
fn what_is_as_it_should_be_has_no_problem() {
    for collector in [
        "",
        "exporters: {otlp_http: {endpoint: 'https://a.example'}}",
        "exporters: {otlp_http: {endpoint: x, headers: {Authorization: 'Bearer ${env:TOKEN}', X-Scope-OrgID: acme}, tls: {ca_file: /a}}}",
        "exporters: {otlp_grpc: {endpoint: x, sending_queue: {queue_size: 5}}}",
        "exporters: {kafka: {sending_queue: {enabled: false}}}",
        "exporters: {loadbalancing: {resolver: {dns: {hostname: a}}, protocol: {otlp: {tls: {insecure: true}}}}}",
        "processors: {filter: {traces: {span: ['name == \"x\"']}}}, pipelines: {traces: {processors: [filter]}}",
        "connectors: {spanmetrics: null}, pipelines: {traces: {exporters: [debug, spanmetrics]}, metrics: {receivers: [spanmetrics]}}",
        "connectors: {forward: {}}, exporters: {debug: {}}, pipelines: {traces: {exporters: [forward]}, traces/own: {receivers: [forward], exporters: [debug]}}",
        "exporters: {debug: {}, debug/a: {}}, routes: [{match: {tenant.id: acme}, exporters: [debug/a]}]",
        "profiles: true, processors: {filter: {}}, pipelines: {profiles: {processors: [filter]}, logs: {}}",
        "profiles: true, exporters: {debug: {}, loadbalancing: {}}, pipelines: {profiles: {exporters: [debug]}}",
        "exporters: {debug: {}, debug/a: {}}, routes: [{match: {tenant.id: [acme, globex], otlp_gate.client: x}, signals: [logs], exporters: [debug/a, debug]}]",
    ] {
        let expected = match collector {
            // The rest has no exporter of its own here.
            it if it.ends_with("[debug/a, debug]}]") => 1,
            _ => 0,
        };
        assert_eq!(found(collector).len(), expected, "{collector}: {:#?}", found(collector));
    }
}

#[test]
fn names_of_components() {
    error(
        "extensions: {'otlp http': {}}",
        "extensions[\"otlp http\"]",
        "not the name of a component",
        "`otlp_http/tempo`",
    );
    error("exporters: {otlp_http: 1}", "exporters.otlp_http", "expected a map", "or `{}`");
    error(
        "processors: {memory_limiter: {}}, pipelines: {logs: {processors: [memory_limiter]}}",
        "processors.memory_limiter",
        "`memory_limiter` is a component that otlp-gate adds",
        "`memory_limiter/own`",
    );
    let routing = "connectors: {routing/traces: {}}, pipelines: {logs: {exporters: [routing/traces], receivers: [routing/traces]}}";
    error(routing, "connectors[\"routing/traces\"]", "otlp-gate adds", "`routing/own`");
    error(
        "exporters: {debug/otlp-gate-verify: {}}",
        "exporters[\"debug/otlp-gate-verify\"]",
        "otlp-gate adds",
        "`debug/own`",
    );
    error(
        "exporters: {forward: {sending_queue: {enabled: false}}}, connectors: {forward: {}}, pipelines: {logs: {exporters: [forward], receivers: [forward]}}",
        "connectors.forward",
        "an exporter `forward` as well",
        "rename",
    );
}

#[test]
fn pipelines_name_what_is_there() {
    error(
        "exporters: {otlp_http: {}}, pipelines: {traces: {exporters: [otlp_htp, otlp_http]}}",
        "pipelines.traces.exporters[0]",
        "there is no exporter or connector `otlp_htp`",
        "did you mean `otlp_http`?",
    );
    error(
        "pipelines: {traces: {processors: [filter]}}",
        "pipelines.traces.processors[0]",
        "there is no processor `filter`",
        "add it under `backend.collector.processors`",
    );
    error(
        "pipelines: {traces/own: {receivers: [otlp], exporters: [debug]}}",
        "pipelines[\"traces/own\"].receivers[0]",
        "receive from the gateway",
        "by a connector",
    );
    error(
        "pipelines: {traces: {receivers: [zipkin]}}",
        "pipelines.traces.receivers[0]",
        "there is no connector `zipkin`",
        "the gateway is the only receiver",
    );
    error("pipelines: {spans: {}}", "pipelines.spans", "is not the name of a pipeline", "`traces/errors`")
}

#[test]
fn own_pipelines_have_both_ends_and_a_free_name() {
    let forward = "connectors: {forward: {}}, pipelines: {logs: {exporters: [forward]}";
    error(
        &format!("{forward}, logs/in: {{receivers: [forward], exporters: [debug]}}}}"),
        "pipelines[\"logs/in\"]",
        "`logs/in` is a pipeline that otlp-gate adds",
        "another name",
    );
    error(
        &format!("{forward}, logs/own: {{receivers: [forward]}}}}"),
        "pipelines[\"logs/own\"]",
        "the pipeline has no exporters",
        "name an exporter",
    );
    error(&format!("{forward}}}"), "connectors.forward", "no pipeline receives from it", "under `receivers`");
    error(
        "connectors: {forward: {}}, pipelines: {logs: {receivers: [forward]}}",
        "connectors.forward",
        "no pipeline exports to it",
        "under `exporters`",
    );
}

#[test]
fn profiles_need_the_key_and_components_that_support_them() {
    let hint = "set `backend.collector.profiles: true`";
    error("pipelines: {profiles: {}}", "pipelines.profiles", "the Collector takes no profiles", hint);
    error(
        "exporters: {debug: {}, debug/a: {}}, routes: [{match: {tenant.id: acme}, signals: [logs, profiles], exporters: [debug/a]}]",
        "routes[0].signals[1]",
        "the Collector takes no profiles",
        hint,
    );
    error(
        "profiles: true, exporters: {debug: {}, loadbalancing: {}}",
        "profiles",
        "`loadbalancing` does not support profiles",
        "`pipelines: {profiles: {exporters: [...]}}`",
    );
    error(
        "profiles: true, processors: {probabilistic_sampler/a: {}}, pipelines: {profiles: {processors: [probabilistic_sampler/a]}}",
        "pipelines.profiles.processors",
        "`probabilistic_sampler/a` does not support profiles",
        "leave it out",
    );
    error(
        "profiles: true, exporters: {debug: {}, zipkin: {sending_queue: {enabled: false}}}, routes: [{match: {tenant.id: acme}, exporters: [zipkin]}]",
        "routes[0].exporters",
        "`zipkin` does not support profiles",
        "`signals: [logs, metrics, traces]`",
    );
    error(
        "profiles: true, processors: {filter/profiles/route-0: {}}, pipelines: {logs: {processors: [filter/profiles/route-0]}}",
        "processors[\"filter/profiles/route-0\"]",
        "otlp-gate adds",
        "`filter/own`",
    );
}

#[test]
fn a_durable_queue_has_room_and_something_to_queue() {
    error("queueVolume: {size: 2GiB}", "queueVolume", "a queue in memory has no volume", "`queue: durable`");
    error("queue: durable", "queue", "no exporter has a durable queue", "`sending_queue: {}`");
    error(
        "queue: durable, queueVolume: {size: 1023MiB}, exporters: {otlp_grpc: {}}",
        "queueVolume.size",
        "too small",
        "1GiB",
    );
    error(
        "queue: durable, queueVolume: {size: 1GiB}, exporters: {otlp_grpc: {}, otlp_http: {}}",
        "queueVolume.size",
        "each of 6 queues has room for 44739242 bytes",
        "make the volume larger",
    );
    error(
        "queue: durable, exporters: {otlp_grpc: {}}, volumes: [{name: queue, emptyDir: {}}]",
        "volumes[0]",
        "`queue` is the volume of the durable queue",
        "another name",
    );
    for exporters in [
        "otlp_grpc: {}",
        "otlp_http: {sending_queue: {queue_size: 5}, retry_on_failure: {max_elapsed_time: 0}}",
        "otlp_grpc: {sending_queue: {wait_for_result: true}}, otlp_http: {}",
        "loadbalancing: {resolver: {}}",
        "kafka: {sending_queue: {}, retry_on_failure: {max_elapsed_time: 0s}}",
    ] {
        let collector = format!("queue: durable, exporters: {{{exporters}}}");
        assert!(found(&collector).is_empty(), "{collector}: {:#?}", found(&collector));
    }
}

#[test]
fn what_drops_acknowledged_telemetry_is_named() {
    let warned = |exporters: &str, path: &str, message: &str| {
        let collector = format!("queue: durable, exporters: {{{exporters}}}");
        warning(&collector, &format!("exporters.{path}"), message, "`max_elapsed_time: 0s`");
    };
    let place = "otlp_grpc.retry_on_failure";
    warned("otlp_grpc: {retry_on_failure: {enabled: false}}", place, "dropped after one attempt");
    warned("otlp_grpc: {retry_on_failure: {max_elapsed_time: 10m}}", place, "dropped after 10m of attempts");
    warned(
        "kafka: {sending_queue: {}}",
        "kafka.retry_on_failure",
        "dropped by default after 5 minutes of attempts",
    );
    warning(
        "extensions: {file_storage/own: {}}, exporters: {otlp_grpc: {sending_queue: {storage: file_storage/own}}}",
        "exporters.otlp_grpc.retry_on_failure",
        "dropped by default after 5 minutes of attempts",
        "`max_elapsed_time: 0s`",
    );
    warning(
        "queue: durable, exporters: {kafka: {}, otlp_grpc: {}}",
        "exporters.kafka",
        "may answer before delivery",
        "`sending_queue: {}`",
    );
    warning(
        "queue: durable, exporters: {otlp_grpc: {}}, maxReplicas: 3",
        "maxReplicas",
        "when the autoscaler removes a replica",
        "`replicas` only",
    );
}

#[test]
fn routes_name_exporters_and_owned_attributes() {
    let route = |route: &str| {
        format!("exporters: {{debug: {{}}, debug/a: {{}}, debug/b: {{}}}}, routes: [{{{route}}}]")
    };
    error(
        &route("match: {tenant.id: acme}, exporters: [debug/c]"),
        "routes[0].exporters[0]",
        "there is no exporter or connector `debug/c`",
        "did you mean `debug/a`?",
    );
    // Backends fold `tenant_id` to `tenant.id`, but the gateway never sets it, so nothing would match.
    error(
        &route("match: {tenant_id: acme}, exporters: [debug/a]"),
        "routes[0].match.tenant_id",
        "`tenant_id` is not an owned attribute: clients could send any value",
        "did you mean `tenant.id`?",
    );
    error(
        &route("match: {otlp_gate.verify: x}, exporters: [debug/a]"),
        "routes[0].match[\"otlp_gate.verify\"]",
        "is not an owned attribute",
        "use one of `host.name`, `otlp_gate.client`, `tenant.id`",
    );
    error(
        &route("match: {}, exporters: [debug/a]"),
        "routes[0].match",
        "matches everything",
        "remove the route",
    );
    error(
        &route("match: {tenant.id: []}, exporters: [debug/a]"),
        "routes[0].match[\"tenant.id\"]",
        "no value",
        "add",
    );
    error(
        &route("match: {tenant.id: acme}, exporters: []"),
        "routes[0].exporters",
        "there is no exporter",
        "`nop: {}`",
    );
    error(
        "exporters: {debug/a: {}}, routes: [{match: {tenant.id: acme}, exporters: [debug/a]}]",
        "routes",
        "no exporter is left for logs, metrics, traces that no route matches",
        "`nop: {}` to drop the rest",
    );
}

#[test]
fn routes_that_are_probably_mistakes() {
    let routes = |routes: &str| {
        format!("exporters: {{debug: {{}}, debug/a: {{}}, debug/b: {{}}}}, routes: [{routes}]")
    };
    let acme = "{match: {tenant.id: acme}, exporters: [debug/a]}";
    warning(
        &routes(&format!("{acme}, {{match: {{tenant.id: acme, host.name: x}}, exporters: [debug/b]}}")),
        "routes[1].match",
        "an earlier route matches all of it",
        "put it first",
    );
    warning(
        &routes(&format!("{acme}, {{match: {{tenant.id: globx}}, exporters: [debug/b]}}")),
        "routes[1].match[\"tenant.id\"]",
        "no client has the value `globx`",
        "did you mean `globex`?",
    );
    let by_hand = "exporters: {debug: {}, debug/a: {}}, pipelines: {logs: {exporters: [debug, debug/a]}}";
    warning(
        &format!("{by_hand}, routes: [{acme}]"),
        "pipelines.logs.exporters",
        "other telemetry than that of `routes[0]` reaches its exporter `debug/a`",
        "an exporter of its own",
    );
    let around = "exporters: {debug: {}, debug/a: {}, debug/b: {}}, connectors: {forward: {}}, \
                  pipelines: {logs/own: {receivers: [forward], exporters: [debug/a]}}";
    warning(
        &format!(
            "{around}, routes: [{acme}, {{match: {{tenant.id: globex}}, signals: [logs], exporters: [forward, debug/b]}}]"
        ),
        "routes[1].exporters",
        "reaches its exporter `debug/a`",
        "an exporter of its own",
    );
}

#[test]
fn components_without_a_pipeline() {
    warning(
        "processors: {filter: {}}",
        "processors.filter",
        "no pipeline uses it",
        "{traces: {processors: [filter]}}",
    );
    warning(
        "connectors: {forward: {}}",
        "connectors.forward",
        "no pipeline uses it",
        "{traces: {exporters: [forward]}}",
    );
}

#[test]
fn exporters_and_processors_that_answer_early() {
    let queue = "exporters: {otlp_http: {sending_queue: {wait_for_result: false}}}";
    warning(queue, "exporters.otlp_http.sending_queue", "answers before delivery", "`wait_for_result: true`");
    let known = "exporters: {elasticsearch: {sending_queue: {queue_size: 5}}}";
    warning(
        known,
        "exporters.elasticsearch.sending_queue",
        "answers before delivery",
        "`wait_for_result: true`",
    );
    let unknown = "exporters: {datadog: {sending_queue: null}}";
    warning(
        unknown,
        "exporters.datadog",
        "`datadog` is not known here",
        "`sending_queue: {wait_for_result: true}`",
    );
    let outer = "exporters: {loadbalancing: {sending_queue: {}}}";
    warning(outer, "exporters.loadbalancing.sending_queue", "answers before delivery", "");
    let inner = "exporters: {loadbalancing: {protocol: {otlp: {sending_queue: {wait_for_result: false}}}}}";
    warning(inner, "exporters.loadbalancing.protocol.otlp.sending_queue", "answers before delivery", "");
    for kind in ["batch", "tail_sampling", "groupbytrace"] {
        let processor =
            format!("processors: {{{kind}/a: {{}}}}, pipelines: {{traces: {{processors: [{kind}/a]}}}}");
        let path = format!("processors[\"{kind}/a\"]");
        warning(&processor, &path, "what it holds is lost with the pod", "");
    }
    for settings in [
        "{sending_queue: {enabled: false}}",
        "{sending_queue: {storage: a}, retry_on_failure: {max_elapsed_time: 0}}",
        "{sending_queue: {wait_for_result: true}}",
    ] {
        let exporter = format!("exporters: {{elasticsearch: {settings}}}");
        assert_eq!(found(&exporter), [], "{exporter}");
    }
}

#[test]
fn keys_in_plain_text() {
    for settings in [
        "{headers: {Authorization: abc}}",
        "{headers: {x-api-key: abc}}",
        "{headers: {api_key: abc}}",
        "{headers: {X-Honeycomb-Team: abcdefghij1234567890}}",
        "{headers: {x-other: 'Bearer abc'}}",
        "{headers: [{key: x, value: 'Basic abc'}]}",
        "{auth: {password: abc}}",
        "{endpoint: 'https://user:pass@a.example/x'}",
        "{tls: {key_pem: \"-----BEGIN PRIVATE KEY-----\"}}",
    ] {
        let all = found(&format!("exporters: {{otlp_http: {settings}}}"));
        assert_eq!(all.len(), 1, "{settings}: {all:#?}");
        assert!(all[0].1.starts_with("backend.collector.exporters.otlp_http."), "{all:?}");
        assert!(all[0].2.contains("looks like a key") && all[0].3.contains("${env:NAME}"), "{all:?}");
    }
    for settings in [
        "{headers: {Authorization: '${env:TOKEN}'}}",
        "{headers: {Authorization: ''}}",
        "{headers: {X-Scope-OrgID: acme-production-telemetry}}",
        "{auth: {authenticator: bearertokenauth/backend}}",
        "{tls: {key_file: /etc/a.key}}",
        "{endpoint: 'https://a.example:443/user@x:y'}",
    ] {
        assert_eq!(found(&format!("exporters: {{otlp_http: {settings}}}")), [], "{settings}");
    }
    warning(
        "extensions: {bearertokenauth: {token: abc}}",
        "extensions.bearertokenauth.token",
        "looks like a key",
        "",
    );
    warning("env: [{name: API_KEY, value: abc}]", "env[0].value", "looks like a key", "");
    assert_eq!(found("env: [{name: API_KEY, valueFrom: {secretKeyRef: {name: a, key: b}}}]"), []);
}

#[test]
fn processors_that_change_owned_attributes() {
    for (processor, path, message) in [
        (
            "resource: {attributes: [{key: tenant.id, value: x, action: upsert}]}",
            "resource.attributes[0].key",
            "changes `tenant.id`",
        ),
        (
            "resource: {attributes: [{key: a, value: x, action: upsert}, {key: Tenant_ID, action: delete}]}",
            "resource.attributes[1].key",
            "changes `Tenant_ID`",
        ),
        (
            "resource: {attributes: [{pattern: '^tenant', action: delete}]}",
            "resource.attributes[0].pattern",
            "may change",
        ),
        (
            "resource: {attributes: [{key: a, pattern: '(?P<tenant_id>.*)', action: extract}]}",
            "resource.attributes[0].pattern",
            "changes `tenant_id`",
        ),
        (
            "attributes: {actions: [{key: tenant.id, action: insert, value: x}]}",
            "attributes.actions[0].key",
            "changes `tenant.id`",
        ),
        (
            "transform: {trace_statements: ['set(resource.attributes[\"tenant.id\"], \"x\")']}",
            "transform.trace_statements[0]",
            "changes `tenant.id`",
        ),
        (
            "transform: {log_statements: [{context: resource, statements: ['set(attributes[\"tenant.id\"], \"x\")']}]}",
            "transform.log_statements[0].statements[0]",
            "changes `tenant.id`",
        ),
        (
            "transform: {log_statements: ['set(resource.attributes[\"tenant\"][\"id\"], \"x\")']}",
            "transform.log_statements[0]",
            "changes `tenant.id`",
        ),
        (
            "transform: {metric_statements: ['delete_key(resource.attributes, \"tenant.id\")']}",
            "transform.metric_statements[0]",
            "changes `tenant.id`",
        ),
        (
            "transform: {metric_statements: ['keep_keys(resource.attributes, [\"a\"])']}",
            "transform.metric_statements[0]",
            "may change",
        ),
        (
            "transform: {metric_statements: ['merge_maps(resource.attributes, attributes, \"upsert\")']}",
            "transform.metric_statements[0]",
            "may change",
        ),
        ("redaction: {allowed_keys: [a]}", "redaction", "may change"),
        (
            "redaction: {allow_all_keys: true, blocked_values: ['4.*']}",
            "redaction.blocked_values",
            "may change",
        ),
        (
            "groupbyattrs: {keys: [a, tenant.id]}",
            "groupbyattrs.keys[1]",
            "items' own `tenant.id` would replace",
        ),
        ("resourcedetection: {detectors: [env]}", "resourcedetection", "changes `host.name`"),
    ] {
        let name = processor.split(':').next().unwrap();
        let collector =
            format!("processors: {{{processor}}}, pipelines: {{traces: {{processors: [{name}]}}}}");
        warning(&collector, &format!("processors.{path}"), message, "");
    }
}

#[test]
fn processors_that_only_read_owned_attributes() {
    for processor in [
        "resource: {attributes: [{key: a, from_attribute: tenant.id, action: insert}]}",
        "resource: {attributes: [{key: tenant.id, pattern: '(?P<region>.*)', action: extract}]}",
        "attributes: {actions: [{pattern: '^x', action: delete}]}",
        "transform: {trace_statements: ['set(span.attributes[\"a\"], resource.attributes[\"tenant.id\"]) where resource.attributes[\"tenant.id\"] != nil']}",
        "transform: {trace_statements: [{context: span, statements: ['keep_keys(attributes, [\"a\"])', 'set(attributes[\"tenant.id\"], \"x\")']}]}",
        "transform: {trace_statements: ['delete_key(resource.attributes, \"a,)\")', 'set(resource.attributes[\"a\"], \"tenant.id\")']}",
        "redaction: {allow_all_keys: true, ignored_keys: [tenant.id], blocked_values: ['4.*']}",
        "resourcedetection: {override: false}",
    ] {
        let name = processor.split(':').next().unwrap();
        let collector =
            format!("processors: {{{processor}}}, pipelines: {{traces: {{processors: [{name}]}}}}");
        assert_eq!(found(&collector), [], "{processor}");
    }
}
