//! A worker's metrics. The proxy is asked for a metric's id once.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use super::client::Client;
use super::host::Host;
use super::metrics::{AcceptedCounters, ClientMetrics, Metric, QuotaUsed, Series};
use otlp_gate_wire::otlp::Signal;

pub(super) struct Counters<H> {
    host: H,
    /// By name, also of gauges; `None` for a metric that the proxy did not define.
    ids: RefCell<BTreeMap<String, Option<u32>>>,
    /// Those of all clients that metrics do not name.
    unlisted: ClientMetrics,
    /// The gauge of the quota of all clients together.
    total_used: OnceCell<Option<u32>>,
}

impl<H: Host> Counters<H> {
    pub(super) fn new(host: H) -> Self {
        Counters {
            host,
            ids: RefCell::default(),
            unlisted: ClientMetrics::default(),
            total_used: OnceCell::new(),
        }
    }

    /// Adds to a counter.
    pub(super) fn add(
        &self,
        metric: Metric,
        client: Option<&Client>,
        signal: Option<Signal>,
        result: Option<&str>,
        by: u64,
    ) {
        if by == 0 {
            return;
        }
        if let Some(counter) = self.counter(metric, client, signal, result) {
            self.host.increment(counter, by);
        }
    }

    /// Counts a request that the backend accepted.
    pub(super) fn add_accepted(&self, client: &Client, signal: Signal, items: u64, bytes: u64) {
        let Some(slot) = self.ids_of(client).accepted.get(signal as usize) else { return };
        let counters = slot.get().unwrap_or_else(|| {
            let of = |metric, result| self.counter(metric, Some(client), Some(signal), result);
            let counters = AcceptedCounters {
                requests: of(Metric::Requests, Some("accepted")),
                items: of(Metric::Items, None),
                bytes: of(Metric::Bytes, None),
            };
            slot.set(Some(counters));
            counters
        });
        for (counter, by) in [(counters.requests, 1), (counters.items, items), (counters.bytes, bytes)] {
            if let Some(counter) = counter {
                self.host.increment(counter, by);
            }
        }
    }

    /// Shows how much of the quotas is used. A client's own is shown where metrics have its name.
    pub(super) fn show_used(&self, client: &Client, used: QuotaUsed) {
        let own = used.own.filter(|_| client.has_metrics());
        self.show(own, &client.metrics.used, Some(client));
        self.show(used.total, &self.total_used, None);
    }

    fn show(&self, used: Option<u64>, gauge: &OnceCell<Option<u32>>, client: Option<&Client>) {
        let Some(used) = used else { return };
        let define = || {
            self.show_rates(client);
            self.gauge(Metric::QuotaUsed, client)
        };
        if let Some(gauge) = gauge.get_or_init(define) {
            self.host.record(*gauge, used);
        }
    }

    /// Shows the limits of a client.
    fn show_rates(&self, client: Option<&Client>) {
        for (dimension, limit) in client.iter().flat_map(|client| client.tier().limits.iter()) {
            let series = series(Metric::QuotaRate(dimension), client, None, None);
            let name = series.to_string();
            let mut ids = self.ids.borrow_mut();
            let id = match (ids.get(&name), limit) {
                (Some(id), _) => *id,
                (None, None) => None,
                (None, Some(_)) => {
                    let id = self.host.define_gauge(&series);
                    ids.insert(name, id);
                    id
                }
            };
            // A limit that another policy had is removed.
            if let Some(id) = id {
                self.host.record(id, limit.map_or(0, |limit| limit.rate));
            }
        }
    }

    fn gauge(&self, metric: Metric, client: Option<&Client>) -> Option<u32> {
        self.host.define_gauge(&series(metric, client, None, None))
    }

    fn ids_of<'a>(&'a self, client: &'a Client) -> &'a ClientMetrics {
        if client.has_metrics() { &client.metrics } else { &self.unlisted }
    }

    fn counter(
        &self,
        metric: Metric,
        client: Option<&Client>,
        signal: Option<Signal>,
        result: Option<&str>,
    ) -> Option<u32> {
        let series = series(metric, client, signal, result);
        let name = series.to_string();
        let mut ids = self.ids.borrow_mut();
        match ids.get(&name) {
            Some(id) => *id,
            None => {
                let id = self.host.define_counter(&series);
                ids.insert(name, id);
                id
            }
        }
    }
}

fn series<'a>(
    metric: Metric,
    client: Option<&'a Client>,
    signal: Option<Signal>,
    result: Option<&'a str>,
) -> Series<'a> {
    Series {
        name: metric.name(),
        client: client.map(Client::metric_tag),
        signal: signal.map(Signal::name),
        result,
    }
}
