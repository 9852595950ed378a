//! The parts of the config file that a local gate uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::Path;

use otlp_gate_core::config::Scope;
use otlp_gate_core::policy::engine_cluster;

use crate::address::Address;
use crate::certs::ClientTrust;
use crate::config::{Config, EngineTls, Loaded, Report, Source};
use crate::error::Error;

/// A valid policy.
#[derive(Debug)]
pub(super) struct LocalPolicy {
    /// The config.
    pub(super) config: Config,
    /// OTLP/gRPC listener address.
    pub(super) grpc: SocketAddr,
    /// OTLP/HTTP listener address.
    pub(super) http: SocketAddr,
    /// Findings that do not make the config invalid.
    pub(super) warnings: Report,
}

impl LocalPolicy {
    /// Reads a config file. Errors are rendered as `otlp-gate check` renders them.
    /// `engine` replaces the config's engine of shared quotas.
    pub(super) fn read(file: &Path, engine: Option<&Address>) -> Result<Self, Error> {
        let Loaded { config, mut warnings, .. } = Source::read_file(file)?.load_with(|config| {
            if let Some(engine) = engine {
                let of_config = config.quotas.engine.get_or_insert_default();
                (of_config.deploy, of_config.address, of_config.tls) =
                    (None, Some(engine.to_string()), EngineTls::Off);
            }
        })?;
        // Its warnings are about an engine in a cluster.
        warnings.findings.retain(|it| engine.is_none() || !it.path.starts_with("quotas.engine"));
        if let Some(name) = config.client_ca_config_maps().next() {
            let message =
                format!("{}: `local` cannot read the ConfigMap `{name}` in `clientCAs`", file.display());
            return Err(
                Error::failed(message).hint("save its `ca.crt` in a file, and name it with `certificates`")
            );
        }
        let any_address = |port: NonZeroU16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.get()));
        let listeners = &config.gateway.listeners;
        let (grpc, http) = (any_address(listeners.grpc), any_address(listeners.http));
        Ok(LocalPolicy { config, grpc, http, warnings })
    }

    /// The engine of shared quotas, if there is one, with the name of its cluster in Envoy.
    pub(super) fn engine(&self) -> Result<Option<(String, Address)>, Error> {
        let quotas = &self.config.quotas;
        let Some(engine) = quotas.engine.as_ref().filter(|_| quotas.effective_scope() != Scope::Replica)
        else {
            return Ok(None);
        };
        if engine.deploy.is_some() {
            let message = "`local` deploys no engine: `quotas.engine.deploy` is for clusters";
            return Err(Error::failed(message).hint(
                "name an engine on this machine with `--engine`, or set `quotas.scope: replica` in a copy of the file",
            ));
        }
        if engine.tls != EngineTls::Off {
            let message = "`local` connects to the engine in `quotas.engine` in plain text only";
            return Err(Error::failed(message).hint("name an engine on this machine with `--engine`"));
        }
        let address = engine.address.as_deref().unwrap_or_default().parse();
        let address = address.map_err(|error: String| Error::failed(error))?;
        Ok(Some((engine_cluster(&self.config.policy().gate), address)))
    }

    /// The policy as JSON, the filter's input.
    pub(super) fn text(&self, clients: &ClientTrust) -> Result<String, Error> {
        serde_json::to_string(&clients.policy(&self.config))
            .map_err(|error| Error::failed(format_args!("cannot serialize the policy: {error}")))
    }
}
