//! `render`: prints or writes all manifests, without a cluster.

use std::path::PathBuf;

use serde_json::json;

use crate::args::{self, ModuleArgs, OtelcolArgs};
use crate::certs::{ClientTrust, Folder};
use crate::config::{Backend, Provider};
use crate::error::Error;
use crate::global::Global;
use crate::model::{Certificates, Installation, Mesh, Object};
use crate::output::{self, Format};
use crate::{monitoring, providers, render};

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  otlp-gate render | kubectl apply --server-side -f -
  otlp-gate render --out deploy && kubectl apply --server-side -k deploy
  otlp-gate render --monitoring monitoring
  otlp-gate render --provider envoy-gateway --module oci://registry.example/otlp-gate:0.1.0")]
pub(crate) struct Args {
    /// Write one file per object, and kustomization.yaml, to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write alarms, scrape configs and dashboards to this folder, for a Prometheus and a Grafana without an operator:
    /// rules.yaml, scrape.yaml and dashboards/*.json. Manifests are then written with `--out` only
    #[arg(long, value_name = "DIR")]
    monitoring: Option<PathBuf>,
    /// The provider, instead of the config's
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    otelcol: OtelcolArgs,
    /// Read the client CA and its revocation list from client-ca.crt and client.crl in this folder: for the policy,
    /// which then rejects revoked clients on open connections, and with Envoy Gateway for the gateway
    #[arg(long, value_name = "DIR")]
    client_ca: Option<PathBuf>,
}

/// Prints or writes the manifests.
pub(super) fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let mut config = args::config(global)?;
    if let Some(provider) = args.provider {
        config.gateway.provider = provider;
    }
    let clients =
        args.client_ca.as_deref().map(|dir| ClientTrust::read(&config, &Folder::at(dir))).transpose()?;
    if clients.is_none() && !config.client_cas.is_empty() && config.has_client_ca_files() {
        return Err(Error::usage(
            "the policy has the keys of `clientCAs`, and those of the folder are not given",
        )
        .hint("name the folder with client-ca.crt and client.crl with `--client-ca certs`"));
    }
    let (module, mesh) = (args.module.location(&config)?, Mesh::from_config(&config));
    let installation =
        Installation::new(&config, module, mesh, Certificates { clients, ..Certificates::default() });
    let objects = render::objects(&installation)?;
    args.otelcol.validate(&objects)?;
    if let Some(folder) = &args.monitoring {
        monitoring::write_files(folder, &installation, &render::targets(&installation))?;
        if args.out.is_none() {
            return Ok(());
        }
    }
    match &args.out {
        Some(folder) => render::write_folder(folder, &objects)?,
        None => print(global.output, &objects)?,
    }
    installation.unknown_cas().iter().for_each(Error::warn);
    if installation.expects_server_certificate() || installation.expects_client_cas() {
        for it in providers::of(&config).user_objects(&installation, "certs") {
            output::say(format_args!(
                "to create: {}, which contains keys or certificates and is not rendered\n  {}",
                it.object, it.command
            ));
        }
    }
    if installation.expects_internal_certificates() {
        for it in render::internal_secrets(&installation) {
            output::say(format_args!(
                "to create: secret/{} in {}, which contains a key and is not rendered\n  {}",
                it.name(),
                it.namespace(),
                it.command("certs")
            ));
        }
    }
    if let Backend::Service(service) = &config.backend {
        output::say(format_args!(
            "note: clients that can connect to service/{} bypass the gate: let its NetworkPolicy admit the gateway only",
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
