//! Checks of `clientCAs`.

use otlp_gate_core::config::ClientCa as PolicyCa;
use otlp_gate_core::policy::{ConfigPath, Problem};

use super::is_label;
use crate::config::{ClientCa, Config, Provider};

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let entries = &config.client_cas;
    let path = ConfigPath::of("clientCAs");
    let mut problems = Vec::new();
    if !entries.is_empty() && config.certificates.cert_manager.as_ref().is_some_and(|it| it.clients.is_some())
    {
        let message = "it has no effect beside `clientCAs`, whose CAs are the only ones that are trusted";
        let hint = "remove one of the two; to trust this issuer too, put its CA into a file of `clientCAs`";
        let path = ConfigPath::of("certificates").key("certManager").key("clients");
        problems.push(Problem::new(path, message).hint(hint));
    }
    problems.extend(config_maps(config));
    let mut of_folder = None;
    for (index, entry) in entries.iter().enumerate() {
        let path = path.index(index);
        if !PolicyCa::is_name(&entry.name) {
            let message = format!("`{}` is not a valid name", entry.name.escape_debug());
            problems
                .push(Problem::new(path.key("name"), message).hint("use 1 to 63 characters of a-z 0-9 -"));
        }
        if let Some(first) = entries.iter().take(index).position(|it| it.name == entry.name) {
            let message = format!("`{}` is the name of clientCAs[{first}]", entry.name.escape_debug());
            let hint = "put all CAs of one name into one file";
            problems.push(Problem::new(path.key("name"), message).hint(hint));
        }
        if !entry.is_of_folder() {
            continue;
        }
        if entry.revocation_list.is_some() {
            let message = "the list of the CAs in the folder `certs` is `client.crl` there";
            let hint = "remove it, or add `certificates`";
            problems.push(Problem::new(path.key("revocationList"), message).hint(hint));
        }
        match of_folder {
            None => of_folder = Some(index),
            Some(first) => {
                let message = format!("clientCAs[{first}] already names the CAs in the folder `certs`");
                problems.push(Problem::new(path, message).hint("add `certificates` to one of the two"));
            }
        }
    }
    problems
}

/// Errors of entries with a ConfigMap.
fn config_maps(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, entry) in config.client_cas.iter().enumerate() {
        let Some(name) = &entry.config_map else { continue };
        let path = ConfigPath::of("clientCAs").index(index);
        if !is_subdomain(name) {
            let message = format!("`{}` is not a valid name in Kubernetes", name.escape_debug());
            problems.push(Problem::new(path.key("configMap"), message).hint("use a-z 0-9 - and `.`"));
        }
        if entry.certificates.is_some() {
            let message = "the certificates are in the ConfigMap";
            problems.push(Problem::new(path.key("certificates"), message).hint("remove one of the two"));
        }
        if entry.revocation_list.is_some() {
            let message = "it has no effect: the list must be beside the CAs' certificates, in a file";
            let hint = "remove it, and shut out a client with `deny`";
            problems.push(Problem::new(path.key("revocationList"), message).hint(hint));
        }
        if config.gateway.provider == Provider::Istio && config.client_cas.len() > 1 {
            let message = "Istio takes client CAs from one object only, so this must be the only entry";
            let hint = "let what writes the ConfigMap put all CAs into it, as a Bundle of trust-manager with several \
                        sources does";
            problems.push(Problem::new(path.key("configMap"), message).hint(hint));
        }
    }
    problems
}

/// Warnings about CAs whose clients cannot be revoked by a list. Those in files have a warning when the files are read.
pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let entries = config.client_cas.iter().enumerate().filter(|(_, entry)| entry.config_map.is_some());
    let warning = |(index, entry): (usize, &ClientCa)| {
        let message = format!("the clients of `{}` cannot be revoked by a list", entry.name.escape_debug());
        let hint = format!(
            "shut one out with `deny`, by its certificate's serial number (`serial:HEX@{}`), its key (`key:SHA256`) or \
             its client's name, and `apply`; prefer certificates that are valid for hours",
            entry.name
        );
        Problem::new(ConfigPath::of("clientCAs").index(index).key("configMap"), message).hint(hint)
    };
    entries.map(warning).collect()
}

/// Whether a text is a subdomain as in RFC 1123, the form of a ConfigMap's name.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
