//! The config file as a local gate uses it.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::Path;

use crate::config::{Loaded, Report, Source};
use crate::error::Error;

/// A policy without mistakes, as the filter reads it.
#[derive(Debug)]
pub(super) struct LocalPolicy {
    /// The policy as JSON.
    pub(super) text: String,
    /// How many rules for clients it has.
    pub(super) rules: usize,
    /// Where OTLP/gRPC listens.
    pub(super) grpc: SocketAddr,
    /// Where OTLP/HTTP listens.
    pub(super) http: SocketAddr,
    /// What looks like a mistake in it.
    pub(super) warnings: Report,
}

impl LocalPolicy {
    /// Reads a config file. Mistakes are rendered as `check` renders them.
    pub(super) fn read(file: &Path) -> Result<Self, Error> {
        let Loaded { config, warnings, .. } = Source::read_file(file)?.load()?;
        let text = serde_json::to_string(&config.policy())
            .map_err(|error| Error::failed(format_args!("cannot write the policy as JSON: {error}")))?;
        let everywhere = |port: NonZeroU16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.get()));
        let listeners = &config.gateway.listeners;
        Ok(LocalPolicy {
            text,
            rules: config.clients.len(),
            grpc: everywhere(listeners.grpc),
            http: everywhere(listeners.http),
            warnings,
        })
    }
}
