//! Checks a config: compiles its policy, and checks the deployer's keys.

mod backend;
mod client_cas;
mod collector;
mod hostname;
mod infrastructure;
mod monitoring;
mod node_local;
mod quota_engine;

use otlp_gate_core::policy::{self, ConfigPath, Policy, Problem};

use super::{Backend, Config, ServerCa, Severity};
use crate::module::Location;

/// The longest name of a gateway: the names of its Services end with `-collector`, and have at most 63 characters.
const LONGEST_NAME: usize = 63 - "-collector".len();

/// The hint for names in Kubernetes.
pub(super) const LABEL: &str = "use a-z 0-9 -, with a letter or digit at both ends, at most 63 characters";

/// The result of the checks.
pub(super) struct Checked {
    /// All errors and warnings.
    pub(super) problems: Vec<(Severity, Problem)>,
    /// The compiled policy, if it has no errors.
    pub(super) policy: Option<Policy>,
}

pub(super) fn validate(config: &Config) -> Checked {
    let policy_config = config.policy();
    let mut errors = gateway(config);
    errors.extend(client_cas::errors(config));
    errors.extend(infrastructure::errors(config));
    errors.extend(monitoring::errors(config));
    errors.extend(backend::errors(config));
    errors.extend(node_local::errors(config));
    errors.extend(collector::errors(config));
    errors.extend(quota_engine::errors(config));
    let policy = Policy::compile(&policy_config).map_err(|more| errors.extend(more)).ok();
    let warnings = policy::lint(&policy_config, policy.as_ref()).into_iter();
    let warnings = warnings.chain(client_cas::warnings(config)).chain(backend::warnings(config));
    let warnings = warnings.chain(node_local::warnings(config)).chain(quota_engine::warnings(config));
    let warnings =
        warnings.chain(collector::warnings(config, policy.as_ref())).map(|it| (Severity::Warning, it));
    let problems = errors.into_iter().map(|it| (Severity::Error, it)).chain(warnings).collect();
    Checked { problems, policy }
}

fn gateway(config: &Config) -> Vec<Problem> {
    let gateway = &config.gateway;
    let mut problems = Vec::new();
    if gateway.name.len() > LONGEST_NAME && is_label(&gateway.name) {
        let message = format!(
            "`{}` is too long: the Service's name `{0}-collector` has more than 63 characters",
            gateway.name
        );
        let hint = format!("use at most {LONGEST_NAME} characters");
        problems.push(problem(&["gateway", "name"], message, &hint));
    }
    if let Some(module) = &gateway.module
        && let Err(error) = Location::at(&module.url, module.sha256.as_deref(), "")
    {
        problems.push(problem(
            &["gateway", "module"],
            error.to_string(),
            error.hint_text().unwrap_or_default(),
        ));
    }
    let mut name = |keys: &[&str], name: &str| problems.extend(not_a_label(keys, name));
    name(&["gateway", "name"], &gateway.name);
    name(&["gateway", "namespace"], &gateway.namespace);
    if let Backend::Service(service) = &config.backend {
        name(&["backend", "service", "name"], &service.name);
        service.namespace.iter().for_each(|namespace| name(&["backend", "service", "namespace"], namespace));
    }
    if let Some(cert_manager) = &config.certificates.cert_manager {
        for (key, issuer) in [
            ("server", &cert_manager.server),
            ("clients", &cert_manager.clients),
            ("internal", &cert_manager.internal),
        ] {
            issuer
                .iter()
                .for_each(|issuer| name(&["certificates", "certManager", key, "name"], &issuer.name));
        }
    }
    if config.certificates.server_ca == ServerCa::Public
        && config.certificates.cert_manager.as_ref().is_some_and(|it| it.server.is_none())
    {
        let message = "the CA that otlp-gate lets cert-manager create is not public".to_owned();
        let hint = "name a public issuer under `certManager.server`, or remove `serverCA`";
        problems.push(problem(&["certificates", "serverCA"], message, hint));
    }
    if let Backend::Collector(collector) = &config.backend
        && collector.max_replicas.is_some_and(|most| most < collector.replicas)
    {
        let message = "it is less than `replicas`".to_owned();
        problems.push(problem(
            &["backend", "collector", "maxReplicas"],
            message,
            "raise it, or leave it out",
        ));
    }
    if let Some((message, hint)) = hostname::error(&gateway.hostname) {
        problems.push(problem(&["gateway", "hostname"], message, &hint));
    }
    if gateway.listeners.grpc == gateway.listeners.http {
        let message = format!("both listeners have the port {}", gateway.listeners.http);
        problems.push(problem(&["gateway", "listeners", "http"], message, "use different ports"));
    }
    problems
}

fn problem(keys: &[&str], message: String, hint: &str) -> Problem {
    let path = keys.iter().fold(ConfigPath::default(), |path, key| path.key(key));
    Problem::new(path, message).hint(hint)
}

/// The problem with a name that Kubernetes does not accept, if it is one.
fn not_a_label(keys: &[&str], name: &str) -> Option<Problem> {
    let message = || format!("`{}` is not a valid name in Kubernetes", name.escape_debug());
    (!is_label(name)).then(|| problem(keys, message(), LABEL))
}

/// Whether a text is a label as in RFC 1123, the form of names in Kubernetes.
pub(super) fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
