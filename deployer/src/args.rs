//! Options that several commands share, and what they read: the config, the module's location and the certificates.

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::certs::{ClientTrust, Folder, InternalTls, ListenerTls, Role};
use crate::cluster::{
    Bundle, Cluster, DetectedMesh, Missing, client_ca_bundles, detect_extension, detect_mesh,
    detect_prometheus_operator, live_client_cas, missing,
};
use crate::config::{Config, Loaded};
use crate::error::Error;
use crate::global::Global;
use crate::model::{Certificates, Installation, Internal, KeyPair, Mesh, Names, Object};
use crate::module::{self, Location};
use crate::otelcol::{self, Validator};
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
    /// A container runtime that does the same with the Collector's own image: docker, podman or nerdctl
    #[arg(long, value_name = "PROGRAM", env = "OTLP_GATE_OTELCOL_RUNTIME")]
    otelcol_runtime: Option<PathBuf>,
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
    loaded: &'a Loaded,
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
    /// The client CAs in ConfigMaps, where the policy depends on them.
    pub(crate) bundles: Vec<Bundle>,
    loaded: &'a Loaded,
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

/// Reads the internal certificates, if the folder has some.
fn internal(folder: &Folder, config: &Config) -> Result<Option<Internal>, Error> {
    let pair = |(it, (certificate, key))| (it, KeyPair { certificate, key });
    let internal = |InternalTls { ca, pairs, issuer }| Internal {
        ca,
        issuer,
        pairs: pairs.into_iter().map(pair).collect(),
    };
    let servers = Names::of(&config.gateway).internal_servers(config);
    Ok(folder.internal(&servers)?.map(internal))
}

/// Reads and compiles the config as the filter has it: with the client CAs in this folder, if it has any. Files that
/// cannot be used are warned of: they do not keep a certificate from being explained.
pub(crate) fn explaining(global: &Global, folder: &Folder) -> Result<Loaded, Error> {
    let mut loaded = Loaded::read(&global.file, global.namespace.as_deref())?;
    ClientTrust::complete(&mut loaded, folder).unwrap_or_else(|e| e.warn());
    Ok(loaded)
}

impl InstallationArgs {
    /// Reads the certificates, if the folder has some, and prints warnings about them.
    pub(crate) fn read<'a>(&self, loaded: &'a Loaded) -> Result<Inputs<'a>, Error> {
        let config = &loaded.config;
        let module = self.module.location(config)?;
        let mut certificates = Certificates::default();
        let folder = Folder::at(&self.certs);
        let has_server = folder.server_files().certificate.exists();
        if config.takes_server_certificate() && has_server {
            let ListenerTls { server, key } = ListenerTls::read(&folder)?;
            certificates.server = Some(KeyPair { certificate: server, key });
            if config.uses_internal_certificates() {
                certificates.internal = internal(&folder, config)?;
            }
        }
        let has_clients = match config.takes_server_certificate() {
            true => has_server,
            false => !config.trusts_folder() || folder.authority_files(Role::Client).certificate.exists(),
        };
        if config.takes_client_cas() && has_clients {
            certificates.clients = Some(ClientTrust::read(config, &folder)?);
            folder.warnings(config, OffsetDateTime::now_utc()).iter().for_each(Error::warn);
        }
        Ok(Inputs { config, loaded, module, certificates, otelcol: self.otelcol.clone() })
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

    /// Whether the options name something that checks the Collectors' configurations.
    pub(crate) fn checks_collectors(&self) -> bool {
        self.otelcol.validators().next().is_some()
    }

    /// Connects to the cluster, looks for its mesh, and renders the installation for it.
    pub(crate) async fn in_cluster(self, global: &Global) -> Result<InCluster<'a>, Error> {
        let cluster = Cluster::connect(global.context.as_deref()).await?;
        let DetectedMesh { mesh, summary: mesh_summary } = detect_mesh(&cluster, self.config).await?;
        let extension = detect_extension(&cluster, self.config).await?;
        let prometheus_operator = detect_prometheus_operator(&cluster, self.config).await?;
        let (otelcol, loaded) = (self.otelcol.clone(), self.loaded);
        let mut installation = Installation { extension, prometheus_operator, ..self.installation(mesh) };
        let mut bundles = Vec::new();
        let follows = installation.config.client_ca_config_maps().next().is_some();
        if installation.config.gateway.enabled && (follows || installation.certificates.clients.is_none()) {
            let live = live_client_cas(&cluster, &installation).await?;
            bundles = client_ca_bundles(&cluster, &installation, &live).await?;
            installation.keep_client_cas(live);
            for Bundle { config_map, keys, .. } in &mut bundles {
                let Ok(keys) = keys else { continue };
                let own = installation.follow(config_map, keys.clone());
                if own.len() < keys.len() {
                    output::warn(format_args!(
                        "configmap/{config_map} has {} CAs that another entry of `clientCAs` has: their clients are those \
                         of the other entry",
                        keys.len() - own.len()
                    ));
                }
                *keys = own;
            }
            installation.unknown_cas().iter().for_each(Error::warn);
        }
        let objects = render::objects(&installation)?;
        otelcol.validate(&objects)?;
        Ok(InCluster { cluster, installation, objects, mesh_summary, bundles, loaded })
    }
}

impl InCluster<'_> {
    /// Fails if an object that the config refers to is not in the cluster.
    ///
    /// # Errors
    /// All such objects, each with its place in the config.
    pub(crate) async fn require_references(&self) -> Result<(), Error> {
        let references = render::references(&self.installation);
        let missing = missing(&self.cluster, &references).await?;
        match missing.is_empty() {
            true => Ok(()),
            false => Err(self.loaded.errors(missing.iter().map(Missing::problem)).into()),
        }
    }
}

impl OtelcolArgs {
    /// Checks the configurations of the Collectors among these objects with what is given.
    pub(crate) fn validate(&self, objects: &[Object]) -> Result<(), Error> {
        self.validators().try_for_each(|validator| otelcol::validate(validator, objects))
    }

    /// What checks them.
    pub(crate) fn validators(&self) -> impl Iterator<Item = Validator<'_>> {
        let program = self.otelcol.as_deref().map(Validator::Program);
        program.into_iter().chain(self.otelcol_runtime.as_deref().map(Validator::Runtime))
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
