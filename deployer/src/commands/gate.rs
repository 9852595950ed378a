//! What the commands about a gate's objects share: its config, its module, and its certificates.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::certs::{Folder, ListenerTls};
use crate::cluster::{Cluster, mesh};
use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::resources::{ClientCa, Gate, Module, Server};
use crate::{module, output};

/// Arguments of those that speak to a cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The folder with the certificates that `certs init` made. Where there is none, those that the cluster has stay as they
    /// are
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    #[command(flatten)]
    source: ModuleSource,
}

/// Where the gateway gets the filter's module.
#[derive(Debug, clap::Args)]
pub(super) struct ModuleSource {
    /// Where the gateway gets the filter's module: oci://, https:// or http:// [default: the configuration's, else a
    /// ConfigMap]
    #[arg(long, value_name = "URL")]
    module: Option<String>,
    /// The SHA-256 of what is at --module
    #[arg(long, value_name = "HEX", requires = "module")]
    module_sha256: Option<String>,
}

/// Reads the config, and tells what looks like a mistake in it.
pub(super) fn config(global: &Global) -> Result<Config, Error> {
    Ok(loaded(global)?.config)
}

/// The same, with what it comes to.
pub(super) fn loaded(global: &Global) -> Result<Loaded, Error> {
    let loaded = Loaded::read(global)?;
    if !loaded.warnings.findings.is_empty() {
        output::say(&loaded.warnings);
    }
    Ok(loaded)
}

/// The clients' CA and what it revoked.
pub(super) fn client_ca(folder: &Folder) -> Result<ClientCa, Error> {
    let (certificates, revocations) = ListenerTls::read_clients(folder.path())?;
    Ok(ClientCa { certificates, revocations: revocations.ok_or_else(|| no_list(folder))? })
}

/// Lets the gate know of the mesh that the cluster has, where that makes a difference; what was found, in words.
pub(super) async fn look_for_mesh(cluster: &Cluster, gate: &mut Gate<'_>) -> Result<Option<String>, Error> {
    if !gate.config.node_local.enabled {
        return Ok(None);
    }
    let noticed = mesh(cluster, gate).await?;
    gate.mesh = noticed.mesh;
    Ok(Some(noticed.words))
}

impl Target {
    /// The gate, with its certificates where they are here.
    pub(super) fn gate<'a>(&self, config: &'a Config) -> Result<Gate<'a>, Error> {
        let mut gate = Gate::new(config, self.source.module(config)?, None)?;
        if !config.takes_certificates() {
            return Ok(gate);
        }
        let folder = Folder::at(&self.certs);
        if folder.server_files().certificate.exists() {
            let ListenerTls { server, key, client_ca, client_crl } = ListenerTls::read(&self.certs)?;
            gate.server = Some(Server { certificate: server, key });
            let revocations = client_crl.ok_or_else(|| no_list(&folder))?;
            gate.client_ca = Some(ClientCa { certificates: client_ca, revocations });
            folder.warnings(OffsetDateTime::now_utc()).iter().for_each(Error::warn);
        }
        Ok(gate)
    }

    /// The folder with the certificates.
    pub(super) fn certs(&self) -> &Path {
        &self.certs
    }
}

impl ModuleSource {
    /// From the command line, the config, or a ConfigMap.
    pub(super) fn module(&self, config: &Config) -> Result<Module, Error> {
        match (&self.module, &config.gateway.module) {
            (Some(url), _) => Module::at(url, self.module_sha256.as_deref(), &module::sha256()),
            (None, Some(module)) => Module::at(&module.url, module.sha256.as_deref(), &module::sha256()),
            (None, None) => Module::in_config_map(module::bytes()),
        }
    }
}

fn no_list(folder: &Folder) -> Error {
    Error::failed(format_args!("there is no {}", folder.revocations_file().display())).hint(
        "a gate must be able to shut a client out: ask the CA for its revocation list; `otlp-gate certs init` makes one for a CA of its own",
    )
}
