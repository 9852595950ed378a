//! Reports to the engines of shared quotas, and what metrics and the log show of them.

use std::rc::Rc;

use super::host::Host;
use super::metrics::{ENGINE_ANSWERED, ENGINE_OTHER_LIMITS, ENGINE_REPLICAS, ENGINE_UP, Metric};
use super::worker::Worker;
use crate::quota::{Answer, CALL_TIMEOUT, Call, Credentials, Engine, News, Replicas};

/// The variable of the proxy's environment with the user of the engine of shared quotas.
pub const ENGINE_USER: &str = "OTLP_GATE_QUOTA_ENGINE_USER";
/// The variable of the proxy's environment with the password of the engine of shared quotas.
pub const ENGINE_PASSWORD: &str = "OTLP_GATE_QUOTA_ENGINE_PASSWORD";

/// The longest answer that is read, in bytes: several times what an engine answers to the largest batch.
const LONGEST_ANSWER: usize = 64 << 10;

impl<H: Host> Worker<H> {
    /// The engine behind this cluster of the proxy.
    pub(super) fn engine(&self, cluster: &str) -> Rc<Engine> {
        let mut engines = self.engines.borrow_mut();
        if let Some(engine) = engines.iter().find(|engine| engine.cluster() == cluster) {
            return Rc::clone(engine);
        }
        let password = self.host.environment(ENGINE_PASSWORD).filter(|password| !password.is_empty());
        let user = || self.host.environment(ENGINE_USER).filter(|user| !user.is_empty());
        let credentials = password.map(|password| Credentials { user: user(), password });
        let engine = Rc::new(Engine::new(cluster, credentials));
        engines.push(Rc::clone(&engine));
        engine
    }

    /// Reports what is due.
    pub(super) fn report(&self, engine: &Engine) {
        let due = engine.tick(&self.store, self.host.now());
        if let Some(call) = due {
            self.call(engine, call);
        }
    }

    /// Takes the answer to a call.
    pub(super) fn on_answer(&self, number: u32, size: usize) {
        let body = if size == 0 { Vec::new() } else { self.host.answer(size.min(LONGEST_ANSWER)) };
        let engines = self.engines.borrow().clone();
        for engine in &engines {
            if let Some(answer) = engine.answered(number, &body, &self.store, self.host.now()) {
                self.show(answer);
                return;
            }
        }
    }

    fn call(&self, engine: &Engine, call: Call) {
        let number = self.host.call(engine.cluster(), &call.body, CALL_TIMEOUT);
        let answer = engine.sent(call, number, &self.store, self.host.now());
        self.show(answer);
    }

    fn show(&self, answer: Answer) {
        let Answer { works, reported, failed, over, replicas, news } = answer;
        self.counters.add(Metric::QuotaReports, None, None, Some("answered"), reported);
        self.counters.add(Metric::QuotaReports, None, None, Some("failed"), failed);
        self.counters.add(Metric::QuotaOver, None, None, None, over);
        if works {
            self.show_gauge(ENGINE_ANSWERED, self.host.now().as_secs());
        }
        if let Some(Replicas { all, with_other_limits }) = replicas {
            self.show_gauge(ENGINE_REPLICAS, all.into());
            self.show_gauge(ENGINE_OTHER_LIMITS, with_other_limits.into());
        }
        match news {
            Some(News::Up) => self.show_gauge(ENGINE_UP, 1),
            Some(News::Away(reason)) => {
                self.show_gauge(ENGINE_UP, 0);
                let until = "until it answers, each replica has quotas of its own";
                self.host.warn(&format!("otlp-gate: quota engine does not answer ({reason}); {until}"));
            }
            None => {}
        }
    }
}
