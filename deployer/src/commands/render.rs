//! `render`: all manifests, without a cluster.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::cluster::read;
use crate::cli::Global;
use crate::config::{Backend, Config, Loaded, Provider};
use crate::error::Error;
use crate::module;
use crate::output::{self, Format};
use crate::resources::{ClientCa, Gate, Module, Object, write_folder};

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate render | kubectl apply --server-side -f -
  otlp-gate render --out deploy && kubectl apply --server-side -k deploy
  otlp-gate render --provider envoy-gateway --module oci://registry.example/otlp-gate:0.1.0")]
pub struct Args {
    /// Write one file per object, and kustomization.yaml, into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The gateway's implementation, instead of the configuration's
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    /// Where the gateway gets the filter's module: oci://, https:// or http:// [default: the configuration's, else a
    /// ConfigMap]
    #[arg(long, value_name = "URL")]
    module: Option<String>,
    /// The SHA-256 of what is at --module
    #[arg(long, value_name = "HEX", requires = "module")]
    module_sha256: Option<String>,
    /// Also write the clients' CA and revocation list from this folder's client-ca.crt and client.crl (Envoy Gateway)
    #[arg(long, value_name = "DIR")]
    client_ca: Option<PathBuf>,
}

/// Prints or writes the manifests.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let Loaded { mut config, warnings, .. } = Loaded::read(global)?;
    if !warnings.findings.is_empty() {
        output::say(&warnings);
    }
    if let Some(provider) = args.provider {
        config.gateway.provider = provider;
    }
    let client_ca = args.client_ca.as_deref().map(client_ca).transpose()?;
    if client_ca.is_some() && config.gateway.provider == Provider::Istio {
        return Err(Error::usage(
            "Istio reads the clients' CA from the server's Secret, which is not rendered",
        )
        .hint("leave out `--client-ca`"));
    }
    let module = module_of(args.module.as_deref(), args.module_sha256.as_deref(), &config)?;
    let gate = Gate::new(&config, module, client_ca)?;
    let objects = gate.objects()?;
    match &args.out {
        Some(folder) => write_folder(folder, &objects)?,
        None => print(global.output, &objects)?,
    }
    for expected in gate.provider().expected(&gate, "certs") {
        output::say(format_args!(
            "expected: {}, which holds what no manifest should\n  {}",
            expected.object, expected.command
        ));
    }
    if let Backend::Service(service) = &config.backend {
        output::say(format_args!(
            "note: who reaches service/{} directly goes around the gate; its own NetworkPolicy must let in the gateway only",
            service.name
        ));
    }
    Ok(())
}

/// Where the gateway gets the module: from the command line, the config, or a ConfigMap.
pub(super) fn module_of(url: Option<&str>, sha256: Option<&str>, config: &Config) -> Result<Module, Error> {
    match (url, &config.gateway.module) {
        (Some(url), _) => Module::at(url, sha256, &module::sha256()),
        (None, Some(module)) => Module::at(&module.url, module.sha256.as_deref(), &module::sha256()),
        (None, None) => Module::in_config_map(module::bytes()),
    }
}

/// Where the clients' CA is.
pub(super) struct ClientCaFiles {
    pub(super) certificates: PathBuf,
    pub(super) revocations: PathBuf,
}

impl ClientCaFiles {
    pub(super) fn read(&self) -> Result<ClientCa, Error> {
        Ok(ClientCa { certificates: read(&self.certificates)?, revocations: read(&self.revocations)? })
    }
}

fn client_ca(folder: &Path) -> Result<ClientCa, Error> {
    let (certificates, revocations) = (folder.join("client-ca.crt"), folder.join("client.crl"));
    ClientCaFiles { certificates, revocations }.read()
}

fn print(format: Format, objects: &[Object]) -> Result<(), Error> {
    if format == Format::Json {
        let items: Vec<_> = objects.iter().map(|object| &object.value).collect();
        return output::print_text(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    }
    let documents: Result<Vec<String>, Error> = objects.iter().map(Object::to_yaml).collect();
    output::print_text(&documents?.join("---\n"))
}
