//! The gate under test, and one run of the cases against it.

use std::collections::BTreeMap;

use otlp_gate_core::policy::{Client, Identification};

use super::case::Listener;
use super::credentials::TestCredentials;
use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::error::Error;
use crate::random::random;

/// Attribute that identifies one request of one run at the backend.
pub(super) const RUN: &str = "otlp_gate.run";
/// Attribute of all telemetry that a verification sends.
pub(super) const SERVICE: (&str, &str) = ("service.name", "otlp-gate-verify");

/// The gate that is verified.
#[derive(Debug)]
pub(super) struct GateUnderTest<'a> {
    /// `host:port` of OTLP/gRPC.
    pub(super) grpc: String,
    /// `host:port` of OTLP/HTTP.
    pub(super) http: String,
    /// The gate's config.
    pub(super) loaded: &'a Loaded,
    /// The credentials of the test clients.
    pub(super) credentials: TestCredentials,
    /// Where to read what arrived.
    pub(super) backend: Backend,
    /// The gateway's cluster, or why it is not read.
    pub(super) cluster: Result<Cluster, String>,
}

/// Where to read what the backend received.
#[derive(Debug)]
pub(super) enum Backend {
    /// From the logs of the Collector that otlp-gate deploys.
    Collector {
        /// The Collector's cluster.
        cluster: Box<Cluster>,
        /// The namespace of its pods.
        namespace: String,
        /// The labels of its pods.
        labels: BTreeMap<String, String>,
    },
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// One run of the cases.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) gate: &'a GateUnderTest<'a>,
    /// Random, in hexadecimal, to tell this run's telemetry from that of others.
    id: String,
}

/// Whether a valid client can connect to each listener. Where it cannot, a rejected connection of an invalid client
/// proves nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reachable {
    pub(super) grpc: bool,
    pub(super) http: bool,
}

impl GateUnderTest<'_> {
    pub(super) fn new_run(&self) -> Result<Run<'_>, Error> {
        Ok(Run { gate: self, id: format!("{:016x}", u64::from_be_bytes(random()?)) })
    }

    /// `host:port` of a listener.
    pub(super) fn address(&self, listener: Listener) -> &str {
        match listener {
            Listener::Grpc => &self.grpc,
            Listener::Http => &self.http,
        }
    }

    /// The client that the policy identifies by the valid test certificate.
    pub(super) fn client(&self) -> Option<Client> {
        match self.loaded.policy.identify(self.credentials.identity.as_ref()?) {
            Identification::Client(client) => Some(client),
            _ => None,
        }
    }
}

impl Run<'_> {
    /// Value of the attribute [`RUN`] for one request of this run.
    pub(super) fn marker(&self, request: &str, listener: Listener) -> String {
        format!("{}/{}/{request}", self.id, listener.name())
    }
}

impl Reachable {
    pub(super) fn is(self, listener: Listener) -> bool {
        match listener {
            Listener::Grpc => self.grpc,
            Listener::Http => self.http,
        }
    }
}

/// Why a case is skipped that expects a rejected connection at a listener that no client can connect to.
pub(super) fn unreachable(address: &str) -> String {
    format!("no client can connect to {address}, so a rejected connection proves nothing")
}
