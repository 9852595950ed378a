//! Checks of how the gateway connects to the backend.

use otlp_gate_core::policy::Problem;

use super::{hostname, not_a_label, problem};
use crate::config::{Backend, Config, IssuerKind, MeshMode, Provider, Service, ServiceTls, TlsMode};

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    match &config.backend {
        Backend::Service(Service { tls: Some(tls), .. }) => service(config, tls),
        _ => internal_issuer(config),
    }
}

fn service(config: &Config, tls: &ServiceTls) -> Vec<Problem> {
    const TLS: [&str; 3] = ["backend", "service", "tls"];
    let problem = |key: &str, message: &str, hint: &str| {
        problem(&[&TLS[..], &[key]].concat(), message.to_owned(), hint)
    };
    let mut problems = Vec::new();
    let given = [
        ("caConfigMap", &tls.ca_config_map),
        ("serverName", &tls.server_name),
        ("clientSecret", &tls.client_secret),
    ];
    if tls.mesh {
        if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
            let message = "the mesh has certificates of its own";
            problems.push(problem(key, message, "remove this key, or `mesh`"));
        }
        if config.gateway.enabled && config.gateway.provider != Provider::Istio {
            let message = "Envoy Gateway's proxies are not in Istio's mesh";
            let hint = "use certificates: `caConfigMap` and `clientSecret`";
            problems.push(problem("mesh", message, hint));
        }
        let node = &config.node_local;
        if node.enabled && node.export.is_none() && node.mesh == MeshMode::Off {
            let message =
                "with `nodeLocal.mesh: off`, the node-local gateway sends plain text to the Service";
            problems.push(problem("mesh", message, "remove `nodeLocal.mesh`"));
        }
    } else if tls.ca_config_map.is_none() {
        let message = "it has no `caConfigMap`, so the Service cannot be authenticated";
        let hint = "name the ConfigMap that has the CA of the Service's certificate in `ca.crt`, or set `mesh: true` for a \
            Service in Istio's mesh";
        problems.push(super::problem(&TLS, message.to_owned(), hint));
    }
    for (key, name) in [given[0], given[2]] {
        problems.extend(name.iter().filter_map(|name| not_a_label(&[&TLS[..], &[key]].concat(), name)));
    }
    if let Some((message, hint)) = tls.server_name.as_deref().and_then(hostname::error) {
        problems.push(problem("serverName", &message, &hint));
    }
    problems
}

/// An Issuer cannot issue the certificate of the node-local gateway, which is in another namespace.
fn internal_issuer(config: &Config) -> Vec<Problem> {
    let node = &config.node_local;
    let sends_to_collector = node.enabled && node.export.is_none() && config.encrypts_backend();
    let Some(cert_manager) = config.certificates.cert_manager.as_ref().filter(|_| sends_to_collector) else {
        return Vec::new();
    };
    let cluster_wide = cert_manager.internal.as_ref().is_some_and(|it| it.kind == IssuerKind::ClusterIssuer);
    let message = "the node-local gateway is in another namespace, where an Issuer cannot issue its certificate \
        for the Collector";
    let hint = "set `certificates.certManager.internal: {name: .., kind: ClusterIssuer}`, a CA issuer for this gate \
        alone, or `backend.collector.tls: off`";
    let problem = || problem(&["certificates", "certManager"], message.to_owned(), hint);
    (!cluster_wide).then(problem).into_iter().collect()
}

pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let found = match &config.backend {
        Backend::Collector(it) if it.tls == TlsMode::Off => problem(
            &["backend", "collector", "tls"],
            "`off`: telemetry goes from the gateway to the Collector in plain text, and whoever reaches the \
             Collector's Service bypasses the gate"
                .to_owned(),
            "remove the key for mutual TLS",
        ),
        Backend::Service(Service { tls: None, .. }) => problem(
            &["backend", "service"],
            "without `tls`, telemetry goes from the gateway to the Service in plain text, unless a mesh encrypts it"
                .to_owned(),
            "set `tls: {caConfigMap: .., clientSecret: ..}`, or `tls: {mesh: true}` for a Service in Istio's mesh",
        ),
        _ => return Vec::new(),
    };
    config.gateway.enabled.then_some(found).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{Severity, Source};

    /// What is found in a config, each as its place and what is said.
    fn found(text: &str) -> Vec<(Severity, String, String)> {
        let text =
            format!("apiVersion: otlp-gate/v1\nclients: [{{name: a, match: {{dns: a.example}}}}]\n{text}\n");
        let report = match (Source { name: "test".to_owned(), text }).load() {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        report.findings.into_iter().map(|it| (it.severity, it.path, it.message)).collect()
    }

    #[test]
    fn plain_text_is_a_warning() {
        for (backend, path) in [
            ("", None),
            ("backend: {collector: {tls: off}}", Some("backend.collector.tls")),
            ("backend: {service: {name: otel}}", Some("backend.service")),
            ("backend: {service: {name: otel, tls: {caConfigMap: ca}}}", None),
            ("backend: {service: {name: otel, tls: {mesh: true}}}", None),
        ] {
            let found = found(backend);
            assert!(found.iter().all(
                |(severity, _, message)| *severity == Severity::Warning && message.contains("plain text")
            ));
            assert_eq!(found.first().map(|it| &*it.1), path, "{found:?}");
        }
    }

    #[test]
    fn tls_to_a_service_is_complete_or_an_error() {
        let plain = "nodeLocal: {enabled: true, mesh: off}";
        for (tls, more, path, message) in [
            ("", "", "backend.service.tls", "it has no `caConfigMap`"),
            ("clientSecret: a", "", "backend.service.tls", "it has no `caConfigMap`"),
            (
                "mesh: true, clientSecret: a",
                "",
                "backend.service.tls.clientSecret",
                "certificates of its own",
            ),
            (
                "mesh: true",
                "gateway: {provider: envoy-gateway}",
                "backend.service.tls.mesh",
                "not in Istio's mesh",
            ),
            ("mesh: true", plain, "backend.service.tls.mesh", "sends plain text"),
            ("caConfigMap: A", "", "backend.service.tls.caConfigMap", "not a valid name"),
            ("caConfigMap: a, clientSecret: a/b", "", "backend.service.tls.clientSecret", "not a valid name"),
            ("caConfigMap: a, serverName: 10.0.0.1", "", "backend.service.tls.serverName", "not a DNS name"),
        ] {
            let found = found(&format!("backend: {{service: {{name: otel, tls: {{{tls}}}}}}}\n{more}"));
            let [(Severity::Error, at, said)] = &found[..] else { panic!("{tls} {found:?}") };
            assert_eq!(at, path, "{tls} {found:?}");
            assert!(said.contains(message), "{tls} {found:?}");
        }
    }
}
