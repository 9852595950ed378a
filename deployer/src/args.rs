//! Options that several commands share, and what they read: the config, the module's location and the certificates.

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::certs::{ClientTrust, Folder, ListenerTls};
use crate::cluster::{Cluster, DetectedMesh, detect_extension, detect_mesh, live_client_cas};
use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::model::{Certificates, Installation, Mesh, Object, Server};
use crate::module::{self, Location};
use crate::otelcol;
use crate::output;
use crate::render;

/// Options of the commands that compare the cluster with the config.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallationArgs {
    /// The folder with the certificates that `certs init` created. If it has none, the certificates in the cluster stay
    /// unchanged
    #[arg(long, value_name = "DIR", default_value = "certs", env = "OTLP_GATE_CERTS")]
    certs: PathBuf,
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    otelcol: OtelcolArgs,
}

/// Options for the check of the Collectors' configurations.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OtelcolArgs {
    /// A Collector with the components of the configuration, which checks it before anything else happens (`otelcol
    /// validate`)
    #[arg(long, value_name = "PROGRAM", env = "OTLP_GATE_OTELCOL")]
    otelcol: Option<PathBuf>,
}

/// Options for the location of the filter's module.
#[derive(Debug, clap::Args)]
pub(crate) struct ModuleArgs {
    /// Where the gateway gets the filter's module: oci://, https:// or http:// [default: the config's
    /// `gateway.module`, else a ConfigMap]
    #[arg(long, value_name = "URL")]
    module: Option<String>,
    /// The SHA-256 digest of what is at --module
    #[arg(long, value_name = "HEX", requires = "module")]
    module_sha256: Option<String>,
}

/// What the options and the config give before a cluster is asked.
pub(crate) struct Inputs<'a> {
    /// The config.
    pub(crate) config: &'a Config,
    module: Location,
    certificates: Certificates,
    otelcol: OtelcolArgs,
}

/// The installation as a cluster needs it.
pub(crate) struct InCluster<'a> {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The installation, with the cluster's mesh.
    pub(crate) installation: Installation<'a>,
    /// All objects of the installation.
    pub(crate) objects: Vec<Object>,
    /// What was found of a mesh; none if it makes no difference to the gate.
    pub(crate) mesh_summary: Option<String>,
}

/// Reads the config and prints its warnings.
pub(crate) fn config(global: &Global) -> Result<Config, Error> {
    Ok(loaded(global)?.config)
}

/// Reads and compiles the config, and prints its warnings.
pub(crate) fn loaded(global: &Global) -> Result<Loaded, Error> {
    let loaded = Loaded::read(&global.file, global.namespace.as_deref())?;
    if !loaded.warnings.findings.is_empty() {
        output::say(&loaded.warnings);
    }
    Ok(loaded)
}

impl InstallationArgs {
    /// Reads the certificates, if the folder has some, and prints warnings about them.
    pub(crate) fn read<'a>(&self, config: &'a Config) -> Result<Inputs<'a>, Error> {
        let module = self.module.location(config)?;
        let mut certificates = Certificates::default();
        let folder = Folder::at(&self.certs);
        if config.takes_certificates() && folder.server_files().certificate.exists() {
            let ListenerTls { server, key } = ListenerTls::read(&folder)?;
            certificates = Certificates {
                server: Some(Server { certificate: server, key }),
                clients: Some(ClientTrust::read(config, &folder)?),
            };
            folder.warnings(config, OffsetDateTime::now_utc()).iter().for_each(Error::warn);
        }
        Ok(Inputs { config, module, certificates, otelcol: self.otelcol.clone() })
    }

    /// The file from which the server's certificate is read.
    pub(crate) fn server_certificate(&self) -> PathBuf {
        Folder::at(&self.certs).server_files().certificate
    }
}

impl<'a> Inputs<'a> {
    /// The installation, in a cluster with this mesh.
    pub(crate) fn installation(self, mesh: Mesh) -> Installation<'a> {
        Installation::new(self.config, self.module, mesh, self.certificates)
    }

    /// Connects to the cluster, looks for its mesh, and renders the installation for it.
    pub(crate) async fn in_cluster(self, global: &Global) -> Result<InCluster<'a>, Error> {
        let cluster = Cluster::connect(global.context.as_deref()).await?;
        let DetectedMesh { mesh, summary: mesh_summary } = detect_mesh(&cluster, self.config).await?;
        let extension = detect_extension(&cluster, self.config).await?;
        let otelcol = self.otelcol.clone();
        let mut installation = Installation { extension, ..self.installation(mesh) };
        if installation.config.gateway.enabled && installation.certificates.clients.is_none() {
            installation.keep_client_cas(live_client_cas(&cluster, &installation).await?);
            installation.unknown_cas().iter().for_each(Error::warn);
        }
        let objects = render::objects(&installation)?;
        otelcol.validate(&objects)?;
        Ok(InCluster { cluster, installation, objects, mesh_summary })
    }
}

impl OtelcolArgs {
    /// Checks the configurations of the Collectors among these objects, if a program is given.
    pub(crate) fn validate(&self, objects: &[Object]) -> Result<(), Error> {
        self.otelcol.as_deref().map_or(Ok(()), |program| otelcol::validate(program, objects))
    }
}

impl ModuleArgs {
    /// The location on the command line, else in the config, else a ConfigMap with the module that this command
    /// contains.
    pub(crate) fn location(&self, config: &Config) -> Result<Location, Error> {
        match (&self.module, &config.gateway.module) {
            (Some(url), _) => Location::at(url, self.module_sha256.as_deref(), &module::sha256()),
            (None, Some(module)) => Location::at(&module.url, module.sha256.as_deref(), &module::sha256()),
            (None, None) => Location::config_map(module::bytes()),
        }
    }
}
