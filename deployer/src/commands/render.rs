//! `render`: all manifests, without a cluster.

use std::path::PathBuf;

use serde_json::json;

use super::gate::{self, ModuleSource};
use crate::certs::Folder;
use crate::config::{Backend, Provider};
use crate::error::Error;
use crate::global::Global;
use crate::output::{self, Format};
use crate::resources::{Gate, Object, write_folder};

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
    #[command(flatten)]
    source: ModuleSource,
    /// Also write the clients' CA and revocation list from this folder's client-ca.crt and client.crl (Envoy Gateway)
    #[arg(long, value_name = "DIR")]
    client_ca: Option<PathBuf>,
}

/// Prints or writes the manifests.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let mut config = gate::config(global)?;
    if let Some(provider) = args.provider {
        config.gateway.provider = provider;
    }
    if args.client_ca.is_some() && config.gateway.provider == Provider::Istio {
        return Err(Error::usage(
            "Istio reads the clients' CA from the server's Secret, which is not rendered",
        )
        .hint("leave out `--client-ca`"));
    }
    let client_ca = args.client_ca.as_deref().map(|dir| gate::client_ca(&Folder::at(dir))).transpose()?;
    let gate = Gate::new(&config, args.source.module(&config)?, client_ca)?;
    let objects = gate.objects()?;
    match &args.out {
        Some(folder) => write_folder(folder, &objects)?,
        None => print(global.output, &objects)?,
    }
    let expected = gate.expects_certificates().then(|| gate.provider().expected(&gate, "certs"));
    for expected in expected.into_iter().flatten() {
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

fn print(format: Format, objects: &[Object]) -> Result<(), Error> {
    if format == Format::Json {
        let items: Vec<_> = objects.iter().map(|object| &object.value).collect();
        return output::print_text(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    }
    let documents: Result<Vec<String>, Error> = objects.iter().map(Object::to_yaml).collect();
    output::print_text(&documents?.join("---\n"))
}
