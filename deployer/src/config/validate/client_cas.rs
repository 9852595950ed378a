//! Checks of `clientCAs`.

use otlp_gate_core::config;
use otlp_gate_core::policy::{ConfigPath, Problem};

use crate::config::Config;

pub(super) fn errors(config: &Config) -> Vec<Problem> {
    let entries = &config.client_cas;
    let path = ConfigPath::of("clientCAs");
    let mut problems = Vec::new();
    if !entries.is_empty() && config.certificates.cert_manager.is_some() {
        let message =
            "it cannot be used with `certificates.certManager`, whose CA is the only one that is trusted";
        let hint = "remove one of the two; the certificates of another CA go into a file of `clientCAs`";
        problems.push(Problem::new(path.clone(), message).hint(hint));
    }
    let mut of_folder = None;
    for (index, entry) in entries.iter().enumerate() {
        let path = path.index(index);
        if !config::ClientCa::is_name(&entry.name) {
            let message = format!("`{}` is not a valid name", entry.name.escape_debug());
            problems
                .push(Problem::new(path.key("name"), message).hint("use 1 to 63 characters of a-z 0-9 -"));
        }
        if let Some(first) = entries.iter().take(index).position(|it| it.name == entry.name) {
            let message = format!("`{}` is the name of clientCAs[{first}]", entry.name.escape_debug());
            let hint = "put all CAs of one name into one file";
            problems.push(Problem::new(path.key("name"), message).hint(hint));
        }
        if entry.certificates.is_some() {
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
