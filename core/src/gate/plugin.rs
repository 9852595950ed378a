//! The plugins of a worker, each with its policy.

use std::rc::Rc;

use super::host::Host;
use super::load::Gate;
use super::metrics::Metric;
use super::stream::Stream;
use super::worker::Worker;
use crate::quota::TICK;

/// A plugin that the proxy has configured. Each policy is a plugin of its own. The proxy keeps a plugin while
/// connections use it, and uses it again, without another call, if the same policy comes back.
pub struct Plugin<'w, H: Host> {
    id: u32,
    worker: &'w Worker<H>,
    gate: Option<Rc<Gate>>,
}

impl<'w, H: Host> Plugin<'w, H> {
    /// A plugin that is not configured yet; `id` is the proxy's number for it.
    pub fn new(worker: &'w Worker<H>, id: u32) -> Self {
        Plugin { id, worker, gate: None }
    }

    /// Loads the policy that the proxy has for this plugin. An invalid one is counted and logged, and the last valid
    /// policy of the same name stays. Without any, requests are answered so that their clients try again. Returns
    /// whether the policy is valid.
    pub fn configure(&mut self) -> bool {
        let (worker, host) = (self.worker, &self.worker.host);
        let name = host.property(b"plugin_root_id").unwrap_or_default();
        let loaded = Gate::load(&host.plugin_configuration());
        let valid = loaded.is_ok();
        self.gate = match loaded {
            Ok(mut gate) => {
                if let Some(cluster) = gate.policy.engine_cluster() {
                    gate.share_quotas(&worker.engine(&cluster));
                }
                worker.show_revision(gate.revision());
                worker.revisions.borrow_mut().push((self.id, gate.revision()));
                let gate = Rc::new(gate);
                worker.last_valid.borrow_mut().insert(name, Rc::clone(&gate));
                Some(gate)
            }
            Err(mistakes) => {
                worker.counters.add(Metric::RejectedPolicies, None, None, None, 1);
                let last = worker.last_valid.borrow().get(&name).cloned();
                let kept = match last {
                    Some(_) => "the last valid policy stays active",
                    None => "all requests are rejected until a valid policy comes",
                };
                host.warn(&format!("otlp-gate: {mistakes}; {kept}"));
                last
            }
        };
        if self.gate.as_ref().is_some_and(|gate| gate.engine().is_some()) {
            host.set_tick(TICK);
        }
        valid
    }

    /// Loads the policy that another thread of the process has configured with [`Plugin::configure`], which has
    /// counted, logged and shown what there is to it.
    pub fn follow(&mut self) {
        self.gate = Gate::load(&self.worker.host.plugin_configuration()).ok().map(Rc::new);
    }

    /// The time of the next reports to the engine of shared quotas.
    pub fn on_tick(&self) {
        if let Some(engine) = self.gate.as_ref().and_then(|gate| gate.engine()) {
            self.worker.report(engine);
        }
    }

    /// A call ended: `size` is the length of what came back. Zero, if the proxy could not send it.
    pub fn on_answer(&self, number: u32, size: usize) {
        self.worker.on_answer(number, size);
    }

    /// A new stream; `id` is the proxy's number for it. It keeps the policy that the plugin has now.
    pub fn stream(&self, id: u32) -> Stream<'w, H> {
        Stream::new(id, self.worker, self.gate.clone())
    }
}

impl<H: Host> Drop for Plugin<'_, H> {
    /// Where this plugin was configured last, the policy of the one before is in use again.
    fn drop(&mut self) {
        let mut revisions = self.worker.revisions.borrow_mut();
        let before = revisions.last().copied();
        revisions.retain(|(id, _)| *id != self.id);
        if let Some((_, revision)) = revisions.last().copied().filter(|last| Some(*last) != before) {
            self.worker.show_revision(revision);
        }
    }
}
