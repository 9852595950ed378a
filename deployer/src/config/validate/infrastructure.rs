//! Checks of what the provider deploys for the Gateway: `gateway.labels` and `gateway.annotations`, of which the Gateway
//! API takes some only, `gateway.ipFamily` and `gateway.extension`.

use std::collections::BTreeMap;

use otlp_gate_core::policy::Problem;

use super::{is_label, problem};
use crate::config::{Config, ExtensionMode, FilterHost, Provider};
use crate::module::native;

/// How the names of Gateways whose filter runs without a VM end.
const NATIVE_NAME: &str = "-native";

/// The most entries that the Gateway API takes.
const MOST_LABELS: usize = 8;
const MOST_ANNOTATIONS: usize = 16;
/// The longest value of an annotation that the Gateway API takes.
const LONGEST_ANNOTATION: usize = 4096;
/// What providers, Istio and otlp-gate select objects by.
const RESERVED: [&str; 5] = [
    "gateway.networking.k8s.io",
    "gateway.envoyproxy.io",
    "gateway.istio.io",
    "service.istio.io",
    "otlp-gate.io",
];

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let gateway = &config.gateway;
    let mut problems = Vec::new();
    problems.extend(too_many("labels", &gateway.labels, MOST_LABELS));
    problems.extend(too_many("annotations", &gateway.annotations, MOST_ANNOTATIONS));
    if gateway.ip_family.is_some() && gateway.provider == Provider::Istio {
        let message = "it cannot be set with Istio, whose ports have the IP families of the mesh".to_owned();
        let hint = "remove it; dual stack is a setting of Istio's installation";
        problems.push(problem(&["gateway", "ipFamily"], message, hint));
    }
    if gateway.extension != ExtensionMode::Auto && gateway.provider == Provider::EnvoyGateway {
        let message = "it cannot be set with Envoy Gateway, which has no such kinds".to_owned();
        problems.push(problem(&["gateway", "extension"], message, "remove it"));
    }
    problems.extend(native(config));
    for (key, value) in &gateway.labels {
        let path = ["gateway", "labels", key.as_str()];
        problems.extend(not_a_key(&path, key));
        if RESERVED.iter().any(|it| key.split('/').next() == Some(*it)) {
            let message = format!("`{}` selects the gateway's objects", key.escape_debug());
            problems.push(problem(&path, message, "use a label of your own, such as `team: platform`"));
        }
        problems.extend(not_a_value(
            &path,
            value,
            "use A-Z a-z 0-9 - _ ., with a letter or digit at both ends, at most 63 characters; \
             `gateway.annotations` takes any text",
        ));
    }
    for (key, value) in &gateway.annotations {
        let path = ["gateway", "annotations", key.as_str()];
        problems.extend(not_a_key(&path, key));
        if value.len() > LONGEST_ANNOTATION {
            let message = format!("it has {} bytes, more than {LONGEST_ANNOTATION}", value.len());
            problems.push(problem(&path, message, "shorten it: the Gateway API takes no longer value"));
        }
    }
    problems
}

/// What the filter without a VM cannot have.
fn native(config: &Config) -> Vec<Problem> {
    let gateway = &config.gateway;
    let mut problems = Vec::new();
    // All objects are named after the Gateway. So a change of the host makes another gate, and no proxy sees it: one
    // that rejects the new listener would accept the new routes, and forward without any filter.
    let is_native = gateway.host == FilterHost::Native;
    if is_native != gateway.name.ends_with(NATIVE_NAME) {
        let message = format!("only a Gateway with `host: native` has a name that ends in {NATIVE_NAME}");
        let hint = if is_native {
            format!(
                "name it {}{NATIVE_NAME}: the proxies of a running Gateway cannot change their host",
                gateway.name
            )
        } else {
            "choose another name, or set `gateway.host: native`".to_owned()
        };
        problems.push(problem(&["gateway", "name"], message, &hint));
    }
    if !is_native {
        return problems;
    }
    if gateway.provider == Provider::Istio {
        let message = "Istio has no API for it".to_owned();
        let hint = "remove it, or use Envoy Gateway (`provider: envoy-gateway`)";
        problems.push(problem(&["gateway", "host"], message, hint));
    }
    if gateway.module.as_ref().is_some_and(|module| !module.url.starts_with("oci://")) {
        let path = ["gateway", "module", "url"];
        problems.push(problem(&path, native::NO_IMAGE.to_owned(), native::IMAGE_HINT));
    }
    if config.quotas.engine.is_some() {
        let hint = "leave out `gateway.host` or `quotas.engine`";
        problems.push(problem(&["quotas", "engine"], native::NO_ENGINE.to_owned(), hint));
    }
    problems
}

/// The problems with labels of objects of the gate itself.
pub(super) fn label_problems(at: &[&str], labels: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in labels {
        let path: Vec<&str> = at.iter().copied().chain([key.as_str()]).collect();
        problems.extend(not_a_key(&path, key));
        if key.starts_with("otlp-gate.io/") || key.starts_with("app.kubernetes.io/") {
            let message = format!("`{}` is a label that otlp-gate sets", key.escape_debug());
            problems.push(problem(&path, message, "use a label of your own, such as `release: prometheus`"));
        }
        let hint = "use A-Z a-z 0-9 - _ ., with a letter or digit at both ends, at most 63 characters";
        problems.extend(not_a_value(&path, value, hint));
    }
    problems
}

/// The problem with a label's value that Kubernetes does not accept, if it is one.
fn not_a_value(path: &[&str], value: &str, hint: &str) -> Option<Problem> {
    let message = || format!("`{}` is not a valid value of a label", value.escape_debug());
    (!is_value(value)).then(|| problem(path, message(), hint))
}

fn too_many(name: &str, entries: &BTreeMap<String, String>, most: usize) -> Option<Problem> {
    let message = || format!("it has {} entries, and the Gateway API takes {most}", entries.len());
    (entries.len() > most).then(|| {
        problem(&["gateway", name], message(), "remove those that the provider's objects do not need")
    })
}

/// The problem with a key of a label or annotation that Kubernetes does not accept, if it is one.
fn not_a_key(path: &[&str], key: &str) -> Option<Problem> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_prefix = |prefix: &str| prefix.len() < 253 && prefix.split('.').all(is_label);
    if prefix.is_none_or(is_prefix) && is_value(name) && !name.is_empty() {
        return None;
    }
    let message = format!("`{}` is not a valid key", key.escape_debug());
    Some(problem(path, message, "write it as in `external-dns.alpha.kubernetes.io/hostname`, or `team`"))
}

/// Whether a text is a label's value, or if it is not empty, the name in a key.
fn is_value(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let at_end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && text.bytes().all(inside)
        && at_end(text.as_bytes().first())
        && at_end(text.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    /// The errors of a config with these keys under `gateway`.
    fn errors(gateway: &str) -> String {
        let text = format!("apiVersion: otlp-gate/v1\ngateway: {gateway}\nclients: []\n");
        match (Source { name: "test".to_owned(), text }).load() {
            Ok(_) => String::new(),
            Err(report) => report.to_string(),
        }
    }

    #[test]
    fn labels_and_annotations_that_the_gateway_api_takes_are_valid() {
        for gateway in [
            "{provider: envoy-gateway, ipFamily: DualStack}",
            "{labels: {team: platform, example.com/cost-centre: A_1.b, empty: ''}}",
            "{annotations: {external-dns.alpha.kubernetes.io/hostname: 'otel.example.com, b.example'}}",
            "{annotations: {service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing}}",
        ] {
            assert_eq!(errors(gateway), "", "{gateway}");
        }
    }

    #[test]
    fn others_are_rejected_with_a_reason() {
        let many = |number: usize| (0..number).map(|it| format!("k{it}: v")).collect::<Vec<_>>().join(", ");
        let (labels, annotations) = (many(9), many(17));
        let long = "x".repeat(4097);
        for (gateway, message) in [
            (format!("{{labels: {{{labels}}}}}"), "it has 9 entries, and the Gateway API takes 8"),
            (
                format!("{{annotations: {{{annotations}}}}}"),
                "it has 17 entries, and the Gateway API takes 16",
            ),
            ("{labels: {a b: c}}".to_owned(), "`a b` is not a valid key"),
            ("{labels: {Example.com/a: c}}".to_owned(), "`Example.com/a` is not a valid key"),
            ("{labels: {example.com/: c}}".to_owned(), "`example.com/` is not a valid key"),
            ("{labels: {a: 'two words'}}".to_owned(), "`two words` is not a valid value of a label"),
            ("{labels: {a: -b}}".to_owned(), "`-b` is not a valid value of a label"),
            (
                "{labels: {gateway.networking.k8s.io/gateway-name: other}}".to_owned(),
                "`gateway.networking.k8s.io/gateway-name` selects the gateway's objects",
            ),
            ("{annotations: {'-a': c}}".to_owned(), "`-a` is not a valid key"),
            (
                "{provider: envoy-gateway, extension: WasmPlugin}".to_owned(),
                "it cannot be set with Envoy Gateway, which has no such kinds",
            ),
            (
                "{ipFamily: DualStack}".to_owned(),
                "it cannot be set with Istio, whose ports have the IP families of the mesh",
            ),
            ("{host: native, name: a-native}".to_owned(), "Istio has no API for it"),
            ("{name: a-native}".to_owned(), "only a Gateway with `host: native` has a name that ends in -native"),
            (
                "{provider: envoy-gateway, host: native, module: {url: 'oci://a.example/b:1'}}".to_owned(),
                "only a Gateway with `host: native` has a name that ends in -native",
            ),
            (
                "{provider: envoy-gateway, host: native, name: a-native, module: {url: 'https://x.example/m'}}".to_owned(),
                "the module comes in an image of Envoy that contains it",
            ),
            (format!("{{annotations: {{a: {long}}}}}"), "it has 4097 bytes, more than 4096"),
        ] {
            let found = errors(&gateway);
            assert!(found.contains(message), "{gateway}: {found}");
        }
    }
}
