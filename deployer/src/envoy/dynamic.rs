//! The parts of Envoy's configuration that change while it runs. Each is a file in a folder that Envoy watches, and
//! is replaced by a rename, so that Envoy never reads half of one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::Error;

/// The name of our filter's configuration and, in the log, of the module.
pub const FILTER: &str = "otlp_gate";

/// Envoy's name for the type of a wasm filter's configuration.
pub(super) const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// A part of the configuration that changes while Envoy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    /// The filter with its policy (extension configuration discovery).
    Policy,
    /// The server's certificate and key (secret discovery).
    Server,
    /// The authorities of the clients and their revocation lists (secret discovery).
    Clients,
}

impl Dynamic {
    /// All of them.
    pub const ALL: [Dynamic; 3] = [Dynamic::Policy, Dynamic::Server, Dynamic::Clients];

    /// The name under which the listeners ask for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Dynamic::Policy => FILTER,
            Dynamic::Server => "server",
            Dynamic::Clients => "clients",
        }
    }

    /// What Envoy's statistics about it start with.
    pub(super) fn stats(self) -> String {
        match self {
            Dynamic::Policy => format!("extension_config_discovery.http_filter.{FILTER}"),
            Dynamic::Server | Dynamic::Clients => format!("sds.{}", self.name()),
        }
    }

    /// Where Envoy finds it: a `ConfigSource`.
    pub(super) fn source(self, run: &Path) -> Value {
        let folder = self.folder(run);
        json!({
            "path_config_source": {"path": folder.join("resource.json"), "watched_directory": {"path": folder}},
            "resource_api_version": "V3",
        })
    }

    /// Writes it as this version, in place of what was there. Envoy is told by the rename.
    pub fn publish(self, run: &Path, version: u64, resource: &Value) -> Result<(), Error> {
        let folder = self.folder(run);
        let (new, file) = (folder.join("new.json"), folder.join("resource.json"));
        let text = json!({"version_info": version.to_string(), "resources": [resource]}).to_string();
        let write = || {
            fs::create_dir_all(&folder)?;
            // Only we may read it: one of them holds the server's key.
            let mut to = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            to.write_all(text.as_bytes())?;
            fs::rename(&new, &file)
        };
        write().map_err(|error| Error::failed(format!("{}: cannot write: {error}", file.display())))
    }

    /// A folder for each: Envoy reads its file again whenever anything in the folder is renamed.
    fn folder(self, run: &Path) -> PathBuf {
        run.join("watched").join(self.name())
    }
}

/// The filter: this module with this policy. [`Dynamic::Policy`]
pub fn filter(module: &Path, policy: &str) -> Value {
    json!({
        "@type": EXTENSION,
        "name": FILTER,
        "typed_config": {
            "@type": WASM,
            "config": {
                "name": FILTER,
                "root_id": FILTER,
                // A module that crashed is started again by the next request; until then requests get 503.
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy},
            },
        },
    })
}

/// The server's chain and key, both PEM. [`Dynamic::Server`]
pub fn server(chain: &str, key: &str) -> Value {
    json!({
        "@type": SECRET,
        "name": Dynamic::Server.name(),
        "tls_certificate": {
            "certificate_chain": {"inline_string": chain},
            "private_key": {"inline_string": key},
        },
    })
}

/// The authorities that vouch for clients and, where there are any, what they revoked; all PEM. [`Dynamic::Clients`]
pub fn clients(authorities: &str, revoked: Option<&str>) -> Value {
    let mut context = json!({"trusted_ca": {"inline_string": authorities}});
    if let (Some(revoked), Some(context)) = (revoked, context.as_object_mut()) {
        context.insert("crl".to_owned(), json!({"inline_string": revoked}));
    }
    json!({"@type": SECRET, "name": Dynamic::Clients.name(), "validation_context": context})
}
