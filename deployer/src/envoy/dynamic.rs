//! Envoy's dynamic configuration: the resources that change while it runs. Each is a file in a folder that Envoy
//! watches. It is replaced by a rename, so that Envoy never reads a partial file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use otlp_gate_core::gate::{ENGINE_PASSWORD, ENGINE_USER};

use crate::config::FilterHost;
use crate::error::Error;
use crate::module::native;

/// Name of the filter's configuration, and of the module in Envoy's log.
pub(crate) const FILTER: &str = "otlp_gate";

/// Type URL of a Wasm filter's configuration.
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Type URL of a dynamic module's configuration.
const DYNAMIC_MODULE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

impl FilterHost {
    pub(crate) fn new(native: bool) -> Self {
        if native { FilterHost::Native } else { FilterHost::Wasm }
    }

    /// Type URL of the filter's configuration.
    pub(super) fn type_url(self) -> &'static str {
        match self {
            FilterHost::Wasm => WASM,
            FilterHost::Native => DYNAMIC_MODULE,
        }
    }
}

/// A resource of the configuration that changes while Envoy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DynamicResource {
    /// The filter with its policy (extension configuration discovery, ECDS).
    Policy,
    /// The server's certificate and key (secret discovery, SDS).
    Server,
    /// The client CAs and their revocation lists (secret discovery, SDS).
    Clients,
}

impl DynamicResource {
    /// All resources.
    pub(crate) const ALL: [Self; 3] = [Self::Policy, Self::Server, Self::Clients];

    /// The name that the listeners refer to it by.
    pub(super) fn name(self) -> &'static str {
        match self {
            DynamicResource::Policy => FILTER,
            DynamicResource::Server => "server",
            DynamicResource::Clients => "clients",
        }
    }

    /// Prefix of Envoy's statistics about it.
    pub(super) fn stats_prefix(self) -> String {
        match self {
            DynamicResource::Policy => format!("extension_config_discovery.http_filter.{FILTER}"),
            DynamicResource::Server | DynamicResource::Clients => format!("sds.{}", self.name()),
        }
    }

    /// Where Envoy reads it: an `envoy.config.core.v3.ConfigSource`.
    pub(super) fn source(self, run: &Path) -> Value {
        let folder = self.folder(run);
        json!({
            "path_config_source": {"path": folder.join("resource.json"), "watched_directory": {"path": folder}},
            "resource_api_version": "V3",
        })
    }

    /// Replaces its file by this version. Envoy notices the rename.
    pub(crate) fn publish(self, run: &Path, version: u64, resource: &Value) -> Result<(), Error> {
        let folder = self.folder(run);
        let (new, file) = (folder.join("new.json"), folder.join("resource.json"));
        let text = json!({"version_info": version.to_string(), "resources": [resource]}).to_string();
        let write = || {
            fs::create_dir_all(&folder)?;
            // Readable by this user only: one of the files contains the server's key.
            let mut to = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            to.write_all(text.as_bytes())?;
            fs::rename(&new, &file)
        };
        write().map_err(|error| Error::failed(format!("cannot write {}: {error}", file.display())))
    }

    /// One folder per resource: Envoy reloads a file whenever anything in its watched folder is renamed.
    fn folder(self, run: &Path) -> PathBuf {
        run.join("watched").join(self.name())
    }
}

/// [`DynamicResource::Policy`]: the module and the policy in JSON.
pub(crate) fn filter(host: FilterHost, module: &Path, policy: &str) -> Value {
    let policy = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy});
    let config = match host {
        FilterHost::Wasm => json!({
            "@type": host.type_url(),
            "config": {
                "name": FILTER,
                "root_id": FILTER,
                // The next request restarts a crashed VM. Until then requests get 503.
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                    // Only those that are set.
                    "environment_variables": {"host_env_keys": [ENGINE_USER, ENGINE_PASSWORD]},
                },
                "configuration": policy,
            },
        }),
        FilterHost::Native => json!({
            "@type": host.type_url(),
            // Its buckets live as long as the process, also while no policy uses it.
            "dynamic_module_config": {"name": native::NAME, "do_not_close": true},
            "filter_name": FILTER,
            "filter_config": policy,
        }),
    };
    json!({"@type": EXTENSION, "name": FILTER, "typed_config": config})
}

/// [`DynamicResource::Server`]: certificate chain and key, both in PEM.
pub(crate) fn server(chain: &str, key: &str) -> Value {
    json!({
        "@type": SECRET,
        "name": DynamicResource::Server.name(),
        "tls_certificate": {
            "certificate_chain": {"inline_string": chain},
            "private_key": {"inline_string": key},
        },
    })
}

/// [`DynamicResource::Clients`]: CA certificates and, if there are any, revocation lists, all in PEM.
pub(crate) fn clients(authorities: &str, revocation_lists: Option<&str>) -> Value {
    let mut context = json!({"trusted_ca": {"inline_string": authorities}});
    if let (Some(lists), Some(context)) = (revocation_lists, context.as_object_mut()) {
        context.insert("crl".to_owned(), json!({"inline_string": lists}));
    }
    json!({"@type": SECRET, "name": DynamicResource::Clients.name(), "validation_context": context})
}
