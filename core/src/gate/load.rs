//! A policy at work, loaded from what the deployer configures the filter with: JSON, or gzip of it in base64 where it
//! is large.

use std::cell::Cell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::busiest::Busiest;
use super::client::Client;
use super::client_cache::ClientCache;
use super::probe_signal::ProbeSignal;
use crate::config::PolicyConfig;
use crate::policy::Policy;
use crate::quota::{Engine, Ledger, Share, Store};
use crate::time::Timestamp;
use otlp_gate_wire::encoding::Compression;

/// The largest policy, inflated, in bytes: 10,000 clients take a tenth of it.
const MAX_INFLATED: usize = 32 << 20;

/// A policy at work in one worker.
pub struct Gate {
    pub(super) policy: Policy,
    /// The prefix of the keys of this gate's buckets in the shared store.
    prefix: String,
    /// The prefix of the key of the bucket that all clients share. It differs from `prefix`, so that no client's bucket
    /// is in the same set.
    total_prefix: String,
    pub(super) probe_signal: ProbeSignal,
    pub(super) clients: ClientCache,
    pub(super) busiest: Busiest,
    /// Whether the log has that the proxy forwards its clients' `x-forwarded-client-cert`.
    pub(super) foreign_certificate_logged: Cell<bool>,
    /// The clients' buckets and the bucket of all clients together, where they hold over several replicas.
    shares: Option<[Rc<Share>; 2]>,
    engine: Option<Rc<Engine>>,
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
        let busiest = Busiest::new(policy.gate(), policy.busiest_clients());
        Gate {
            policy,
            prefix,
            total_prefix,
            probe_signal: ProbeSignal::default(),
            clients: ClientCache::default(),
            busiest,
            foreign_certificate_logged: Cell::new(false),
            shares: None,
            engine: None,
            revision: 0,
        }
    }

    /// From now on reports what is charged to an engine, so that the quotas hold over several replicas.
    pub fn share_quotas(&mut self, engine: &Rc<Engine>) {
        let Some(group) = self.policy.quota_group() else { return };
        let group: Vec<&[u8]> = group.iter().map(|part| part.as_bytes()).collect();
        let share =
            |kind: &str, prefix: &String| Rc::new(Share::new(engine, &group, kind.as_bytes(), prefix));
        engine.join(&group, self.policy.quota_limits(), self.policy.divides_quotas());
        self.shares = Some([share("client", &self.prefix), share("total", &self.total_prefix)]);
        self.engine = Some(Rc::clone(engine));
    }

    /// Finds out whether a client has metrics of its own.
    pub fn look_up_metrics<S: Store>(&self, client: &Client, store: &S, now: Timestamp) {
        self.busiest.look_up(client, store, now);
    }

    /// Counts what the backend accepted of a client, in bytes: the busiest get metrics of their own.
    pub fn count_accepted(&self, client: &Client, bytes: u64) {
        self.busiest.count(client, bytes);
    }

    /// The engine of shared quotas.
    pub(super) fn engine(&self) -> Option<&Rc<Engine>> {
        self.engine.as_ref()
    }

    /// The clients' buckets.
    pub(super) fn ledger<'a, S: Store>(&'a self, store: &'a S) -> Ledger<'a, S> {
        match &self.shares {
            Some([own, _]) => Ledger::shared(store, own),
            None => Ledger::new(store, &self.prefix),
        }
    }

    /// The bucket of all clients together.
    pub(super) fn total_ledger<'a, S: Store>(&'a self, store: &'a S) -> Ledger<'a, S> {
        match &self.shares {
            Some([_, total]) => Ledger::shared(store, total),
            None => Ledger::new(store, &self.total_prefix),
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
