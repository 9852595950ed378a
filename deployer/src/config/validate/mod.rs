//! What a config means: the policy's checks, and those of what is the deployer's.

mod hostname;
mod node_local;

use otlp_gate_core::policy::{self, Path, Policy, Problem, Segment};

use super::{Backend, Config, Severity};
use crate::resources::Module;

/// Room for the longest ending in the name of a Service, which has at most 63 characters.
const LONGEST_NAME: usize = 63 - "-collector".len();

/// What a name in Kubernetes is.
pub(super) const LABEL: &str = "use a-z 0-9 -, with a letter or digit at both ends, at most 63 characters";

/// The outcome.
pub(super) struct Checked {
    /// All mistakes and warnings.
    pub(super) problems: Vec<(Severity, Problem)>,
    /// The policy, where it has no mistake.
    pub(super) policy: Option<Policy>,
}

pub(super) fn validate(config: &Config) -> Checked {
    let policy_config = config.policy();
    let mut mistakes = gateway(config);
    mistakes.extend(node_local::mistakes(config));
    let policy = match Policy::compile(&policy_config) {
        Ok(policy) => Some(policy),
        Err(more) => {
            mistakes.extend(more);
            None
        }
    };
    let warnings = policy::warnings(&policy_config).into_iter().chain(node_local::warnings(config));
    let warnings = warnings.map(|it| (Severity::Warning, it));
    let problems = mistakes.into_iter().map(|it| (Severity::Error, it)).chain(warnings).collect();
    Checked { problems, policy }
}

fn gateway(config: &Config) -> Vec<Problem> {
    let gateway = &config.gateway;
    let mut problems = Vec::new();
    if gateway.name.len() > LONGEST_NAME && is_label(&gateway.name) {
        let message =
            format!("`{}` is too long: `{0}-collector` cannot be the name of a Service", gateway.name);
        let hint = format!("use at most {LONGEST_NAME} characters");
        problems.push(problem(&["gateway", "name"], message, &hint));
    }
    if let Some(module) = &gateway.module
        && let Err(error) = Module::at(&module.url, module.sha256.as_deref(), "")
    {
        problems.push(problem(&["gateway", "module"], error.to_string(), error.cure().unwrap_or_default()));
    }
    let mut name = |keys: &[&str], name: &str| {
        let message = format!("`{}` cannot be a name in Kubernetes", name.escape_debug());
        problems.extend((!is_label(name)).then(|| problem(keys, message, LABEL)));
    };
    name(&["gateway", "name"], &gateway.name);
    name(&["gateway", "namespace"], &gateway.namespace);
    if let Backend::Service(service) = &config.backend {
        name(&["backend", "service", "name"], &service.name);
        service.namespace.iter().for_each(|namespace| name(&["backend", "service", "namespace"], namespace));
    }
    if let Some(cert_manager) = &config.certificates.cert_manager {
        for (key, issuer) in [("server", &cert_manager.server), ("clients", &cert_manager.clients)] {
            issuer
                .iter()
                .for_each(|issuer| name(&["certificates", "certManager", key, "name"], &issuer.name));
        }
    }
    if let Backend::Collector(collector) = &config.backend
        && collector.max_replicas.is_some_and(|most| most < collector.replicas)
    {
        let message = "it is less than `replicas`, which there always are".to_owned();
        problems.push(problem(
            &["backend", "collector", "maxReplicas"],
            message,
            "raise it, or leave it out",
        ));
    }
    if let Some((message, hint)) = hostname::mistake(&gateway.hostname) {
        problems.push(problem(&["gateway", "hostname"], message, &hint));
    }
    if gateway.listeners.grpc == gateway.listeners.http {
        let message = format!("both listeners have the port {}", gateway.listeners.http);
        problems.push(problem(&["gateway", "listeners", "http"], message, "give each its own"));
    }
    problems
}

fn problem(keys: &[&str], message: String, hint: &str) -> Problem {
    let path = Path(keys.iter().map(|key| Segment::Key((*key).to_owned())).collect());
    Problem { path, message, hint: Some(hint.to_owned()) }
}

/// RFC 1123's label, as Kubernetes wants it.
pub(super) fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
