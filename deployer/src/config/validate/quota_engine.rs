//! Checks of `quotas.engine`.

use otlp_gate_core::config::Scope;
use otlp_gate_core::policy::Problem;

use super::{hostname, not_a_label, problem};
use crate::address::Address;
use crate::config::{Config, EngineCertificates, EngineTls, IssuerKind, Provider};

const ENGINE: [&str; 2] = ["quotas", "engine"];

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let Some(engine) = &config.quotas.engine else { return Vec::new() };
    let at = |keys: &[&str], message: String, hint: &str| problem(&[&ENGINE, keys].concat(), message, hint);
    let mut problems = Vec::new();
    if engine.deploy.is_some() {
        return deployed(config);
    }
    const LIKE: &str = "write a host and a port, such as valkey.example.com:6379";
    match engine.address.as_ref().map(|it| (it, it.parse::<Address>())) {
        None => problems.push(problem(
            &ENGINE,
            "it has neither `deploy` nor `address`".to_owned(),
            "`deploy: {}` deploys a Valkey for this gate; `address` names one that exists, such as \
             valkey.example.com:6379",
        )),
        Some((address, Err(error))) => {
            problems.push(at(&["address"], format!("`{}`: {error}", address.escape_debug()), LIKE));
        }
        Some((_, Ok(_))) => {}
    }
    if let Some(credentials) = &engine.credentials {
        problems
            .extend(not_a_label(&[&ENGINE[..], &["credentials", "secret"]].concat(), &credentials.secret));
    }
    let EngineTls::On(tls) = &engine.tls else { return problems };
    if tls.ca_config_map.is_some() && tls.ca_secret.is_some() {
        let message = "the CA is in a ConfigMap or in a Secret, not in both".to_owned();
        problems.push(at(
            &["tls", "caSecret"],
            message,
            "remove one of the two; one object may have several CAs",
        ));
    }
    let EngineCertificates { ca_config_map, ca_secret, client_secret, .. } = tls;
    for (key, name) in
        [("caConfigMap", ca_config_map), ("caSecret", ca_secret), ("clientSecret", client_secret)]
    {
        let path = [&ENGINE[..], &["tls", key]].concat();
        problems.extend(name.iter().filter_map(|name| not_a_label(&path, name)));
    }
    if let Some((message, hint)) = tls.server_name.as_deref().and_then(hostname::error) {
        problems.push(at(&["tls", "serverName"], message, &hint));
    }
    problems
}

/// Checks of an engine that otlp-gate deploys.
fn deployed(config: &Config) -> Vec<Problem> {
    let Some(engine) = &config.quotas.engine else { return Vec::new() };
    let mut problems = Vec::new();
    if engine.address.is_some() {
        problems.push(problem(
            &[&ENGINE[..], &["address"]].concat(),
            "`deploy` and `address` exclude each other".to_owned(),
            "remove `deploy` to use the engine at this address, or remove `address` to deploy one",
        ));
    }
    let own = "the engine that `deploy` makes has certificates of its own, and no password";
    let given = [("tls", !engine.tls.is_default()), ("credentials", engine.credentials.is_some())];
    for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        let path = [&ENGINE[..], &[key]].concat();
        problems.push(problem(&path, own.to_owned(), "remove this key; it is for an engine with `address`"));
    }
    if config.quotas.scope == Some(Scope::Shared) {
        problems.push(problem(
            &["quotas", "scope"],
            "the engine that `deploy` makes is for this gate alone".to_owned(),
            "remove `scope`, or name an engine that all gates reach in `quotas.engine.address`",
        ));
    }
    problems.extend(issuer(config));
    problems
}

/// An Issuer cannot issue the certificate of Envoy Gateway's proxies, which are in another namespace.
fn issuer(config: &Config) -> Option<Problem> {
    let cert_manager = config.certificates.cert_manager.as_ref()?;
    if config.deployed_engine().is_none() || config.gateway.provider != Provider::EnvoyGateway {
        return None;
    }
    let cluster_wide = cert_manager.internal.as_ref().is_some_and(|it| it.kind == IssuerKind::ClusterIssuer);
    let message = "Envoy Gateway's proxies are in another namespace, where an Issuer cannot issue their certificate for \
        the quota engine";
    let hint = "set `certificates.certManager.internal: {name: .., kind: ClusterIssuer}`, a CA issuer for this gate \
        alone, or name an engine that exists in `quotas.engine.address`";
    (!cluster_wide).then(|| problem(&["certificates", "certManager"], message.to_owned(), hint))
}

pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let Some(engine) = &config.quotas.engine else { return Vec::new() };
    let is_unused = !config.gateway.enabled || config.quotas.effective_scope() == Scope::Replica;
    if is_unused || engine.deploy.is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let authenticates = match &engine.tls {
        EngineTls::Off => {
            let with =
                if engine.credentials.is_some() { "the password and all reports go" } else { "reports go" };
            found.push(problem(
                &["quotas", "engine", "tls"],
                format!(
                    "`off`: {with} to the engine in plain text, and whoever can change the traffic can throttle every \
                     client or lift its quota"
                ),
                "remove the key, or name the CA of the engine's certificate: `tls: {caConfigMap: ..}`",
            ));
            engine.credentials.is_some()
        }
        EngineTls::On(tls) => engine.credentials.is_some() || tls.client_secret.is_some(),
    };
    if !authenticates {
        found.push(problem(
            &ENGINE,
            "without `credentials`, whoever reaches the engine can throttle every client or lift its quota".to_owned(),
            "give the engine a user for the gates, and name the Secret with its password: `credentials: {secret: ..}`",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::config::{Severity, Source};

    /// What is found in an engine's keys, each as its place and what is said.
    fn found(engine: &str) -> Vec<(Severity, String, String)> {
        let text = format!(
            "apiVersion: otlp-gate/v1\nclients: [{{name: a, match: {{dns: a.example}}}}]\nquotas: {{{engine}}}\n"
        );
        let report = match (Source { name: "test".to_owned(), text }).load() {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        report.findings.into_iter().map(|it| (it.severity, it.path, it.message)).collect()
    }

    #[test]
    fn an_engine_has_an_address_and_certificates_that_can_exist() {
        for (engine, path, message) in [
            ("{}", "quotas.engine", "it has neither `deploy` nor `address`"),
            ("{deploy: {}, address: 'a:1'}", "quotas.engine.address", "exclude each other"),
            ("{deploy: {}, tls: off}", "quotas.engine.tls", "certificates of its own"),
            ("{deploy: {}, credentials: {secret: a}}", "quotas.engine.credentials", "no password"),
            ("{deploy: {}, name: a}, scope: shared", "quotas.scope", "for this gate alone"),
            ("{deploy: {volume: a}}", "quotas.engine.deploy.volume", "unknown key"),
            ("{address: valkey}", "quotas.engine.address", "`valkey`: the port is missing"),
            ("{address: 'a:1', tls: on}", "quotas.engine.tls", "`off` or a map"),
            ("{address: 'a:1', tls: {ca: a}}", "quotas.engine.tls.ca", "unknown key `ca`"),
            (
                "{address: 'a:1', tls: {caConfigMap: a, caSecret: b}}",
                "quotas.engine.tls.caSecret",
                "not in both",
            ),
            ("{address: 'a:1', tls: {caSecret: A}}", "quotas.engine.tls.caSecret", "not a valid name"),
            ("{address: 'a:1', tls: {serverName: 'a:1'}}", "quotas.engine.tls.serverName", "it has a port"),
            (
                "{address: 'a:1', credentials: {secret: a/b}}",
                "quotas.engine.credentials.secret",
                "not a valid",
            ),
            (
                "{address: 'a:1', credentials: {password: x}}",
                "quotas.engine.credentials.password",
                "unknown key",
            ),
        ] {
            let found = found(&format!("engine: {engine}"));
            let errors: Vec<_> = found.iter().filter(|it| it.0 == Severity::Error).collect();
            let [(_, at, said)] = &errors[..] else { panic!("{engine} {found:?}") };
            assert_eq!(at, path, "{engine} {found:?}");
            assert!(said.contains(message), "{engine} {found:?}");
        }
    }

    #[test]
    fn proxies_in_another_namespace_need_a_cluster_issuer() {
        let found = |provider: &str, internal: &str| {
            let quotas = format!(
                "engine: {{deploy: {{}}}}}}\ngateway: {{provider: {provider}}}\ncertificates: {{certManager: {{{internal}}}"
            );
            found(&quotas).into_iter().filter(|it| it.0 == Severity::Error).map(|it| it.1).collect::<Vec<_>>()
        };
        let at = ["certificates.certManager"];
        assert_eq!(found("envoy-gateway", ""), at);
        assert_eq!(found("envoy-gateway", "internal: {name: a}"), at);
        assert!(found("envoy-gateway", "internal: {name: a, kind: ClusterIssuer}").is_empty());
        assert!(found("istio", "").is_empty());
    }

    #[test]
    fn an_engine_that_others_may_change_is_a_warning() {
        let (open, plain) = ("without `credentials`", "in plain text");
        for (engine, expected) in [
            ("{address: 'a:1', credentials: {secret: a}}", vec![]),
            ("{address: 'a:1', tls: {clientSecret: a}}", vec![]),
            ("{address: 'a:1'}", vec![open]),
            ("{address: 'a:1', tls: {caSecret: a}}", vec![open]),
            ("{address: 'a:1', tls: off, credentials: {secret: a}}", vec![plain]),
            ("{address: 'a:1', tls: off}", vec![open, plain]),
        ] {
            let found = found(&format!("engine: {engine}"));
            let all: Vec<&str> = found.iter().map(|it| &*it.2).collect();
            assert_eq!(all.len(), expected.len(), "{engine} {found:?}");
            assert!(all.iter().zip(expected).all(|(said, word)| said.contains(word)), "{engine} {found:?}");
            assert!(found.iter().all(|it| it.0 == Severity::Warning), "{found:?}");
        }
        assert!(found("engine: {deploy: {}}").is_empty());
        assert!(found("scope: replica, engine: {address: 'a:1', tls: off}").is_empty());
    }
}
