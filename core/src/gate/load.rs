//! A policy at work, loaded from what the deployer configures the filter with: JSON, or gzip of it in base64 where it
//! is large.

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::client_cache::ClientCache;
use super::probe_signal::ProbeSignal;
use crate::config::PolicyConfig;
use crate::policy::Policy;
use otlp_gate_wire::encoding::Compression;

/// The largest policy, inflated, in bytes: 10,000 clients take a tenth of it.
const MAX_INFLATED: usize = 32 << 20;

/// A policy at work in one worker.
pub struct Gate {
    pub(super) policy: Policy,
    /// The prefix of the keys of this gate's buckets in the shared store.
    pub(super) prefix: String,
    /// The prefix of the key of the bucket that all clients share. It differs from `prefix`, so that no client's bucket
    /// is in the same set.
    pub(super) total_prefix: String,
    pub(super) probe_signal: ProbeSignal,
    pub(super) clients: ClientCache,
    /// Whether the log has that the proxy forwards its clients' `x-forwarded-client-cert`.
    pub(super) foreign_certificate_logged: Cell<bool>,
    revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compressed {
    gzip: String,
}

impl Gate {
    /// A gate for a valid policy.
    pub fn new(policy: Policy) -> Self {
        let prefix = format!("otlp-gate/{}", policy.gate());
        let total_prefix = format!("{prefix}/total");
        Gate {
            policy,
            prefix,
            total_prefix,
            probe_signal: ProbeSignal::default(),
            clients: ClientCache::default(),
            foreign_certificate_logged: Cell::new(false),
            revision: 0,
        }
    }

    /// Loads a policy.
    ///
    /// # Errors
    /// What is wrong with it: every mistake in one line.
    pub fn load(configuration: &[u8]) -> Result<Gate, String> {
        let inflated;
        let json = match serde_json::from_slice::<Compressed>(configuration) {
            Ok(Compressed { gzip }) => {
                let wire = STANDARD.decode(gzip).map_err(|error| format!("policy is not base64: {error}"))?;
                inflated = Compression::Gzip
                    .inflate(&wire, MAX_INFLATED)
                    .map_err(|error| format!("policy is not gzip: {error:?}"))?;
                &inflated
            }
            Err(_) => configuration,
        };
        let config: PolicyConfig =
            serde_json::from_slice(json).map_err(|error| format!("policy cannot be read: {error}"))?;
        let policy = Policy::compile(&config).map_err(|problems| {
            let problems: Vec<String> =
                problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
            format!("policy has mistakes: {}", problems.join("; "))
        })?;
        let revision = u64::from_str_radix(&config.revision, 16).unwrap_or_default();
        Ok(Gate { revision, ..Gate::new(policy) })
    }

    /// The revision that the deployer gave the policy; 0 if it gave none.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
