//! What lives as long as a worker's VM.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::counters::Counters;
use super::host::Host;
use super::load::Gate;
use super::memory::Memory;
use super::metrics::{POLICY_REVISION, Series};
use crate::quota::{CachedStore, Engine};

/// One worker thread of the proxy.
pub struct Worker<H: Host> {
    pub(super) host: H,
    /// The store that all workers share.
    pub(super) store: CachedStore<H>,
    /// The memory that this worker's requests hold.
    pub(super) memory: Memory,
    pub(super) counters: Counters<H>,
    /// The last valid policy by the plugin's name: two gateways may share a VM.
    pub(super) last_valid: RefCell<BTreeMap<Vec<u8>, Rc<Gate>>>,
    /// The plugins with a valid policy and its revision, in the order in which they were configured.
    pub(super) revisions: RefCell<Vec<(u32, u64)>>,
    /// The engines of shared quotas, which outlive policies.
    pub(super) engines: RefCell<Vec<Rc<Engine>>>,
}

impl<H: Host> Worker<H> {
    /// A worker without policies.
    pub fn new(host: H) -> Self {
        Worker {
            store: CachedStore::new(host.clone()),
            counters: Counters::new(host.clone()),
            host,
            memory: Memory::default(),
            last_valid: RefCell::default(),
            revisions: RefCell::default(),
            engines: RefCell::default(),
        }
    }

    /// Shows which policy the worker has.
    pub(super) fn show_revision(&self, revision: u64) {
        self.show_gauge(POLICY_REVISION, revision);
    }

    /// Sets a gauge that seldom changes.
    pub(super) fn show_gauge(&self, name: &'static str, value: u64) {
        if let Some(gauge) = self.host.define_gauge(&Series::untagged(name)) {
            self.host.record(gauge, value);
        }
    }
}
