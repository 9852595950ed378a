//! What the commands that speak to a cluster share: the gate they are about, with what is put into it.

use std::path::{Path, PathBuf};

use super::render::{ClientCaFiles, module_of};
use crate::certs::{Folder, Role};
use crate::cli::Global;
use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::output;
use crate::resources::{Gate, Server};

/// Arguments of all of them.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The folder with the certificates that `certs init` made. Without it, those that the cluster has are left as they are
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    /// Where the gateway gets the filter's module: oci://, https:// or http:// [default: the configuration's, else a
    /// ConfigMap]
    #[arg(long, value_name = "URL")]
    module: Option<String>,
    /// The SHA-256 of what is at --module
    #[arg(long, value_name = "HEX", requires = "module")]
    module_sha256: Option<String>,
}

impl Target {
    /// Reads the config, and tells what looks like a mistake in it.
    pub(super) fn config(global: &Global) -> Result<Config, Error> {
        let Loaded { config, warnings, .. } = Loaded::read(global)?;
        if !warnings.findings.is_empty() {
            output::say(&warnings);
        }
        Ok(config)
    }

    /// The gate, with its certificates where they are here.
    pub(super) fn gate<'a>(&self, config: &'a Config) -> Result<Gate<'a>, Error> {
        let module = module_of(self.module.as_deref(), self.module_sha256.as_deref(), config)?;
        let mut gate = Gate::new(config, module, None)?;
        let folder = Folder::at(&self.certs);
        let files = folder.server_files();
        if files.certificate.exists() {
            gate.server = Some(Server { certificate: read(&files.certificate)?, key: read(&files.key)? });
            gate.client_ca = Some(
                ClientCaFiles {
                    certificates: folder.authority_files(Role::Client).certificate,
                    revocations: folder.revocations_file(),
                }
                .read()?,
            );
        }
        Ok(gate)
    }

    /// The folder with the certificates.
    pub(super) fn certs(&self) -> &Path {
        &self.certs
    }
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::failed(format_args!("cannot read {}: {e}", path.display())))
}
