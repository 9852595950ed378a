//! What one replica of a gate has counted so far, by client.

use std::collections::BTreeMap;

use otlp_gate_core::gate::quota_rate;
use otlp_gate_core::quota::{Dimension, PerDimension};

use super::prometheus::series;

/// The signals, as metrics name them.
pub(super) const SIGNALS: [&str; 4] = ["traces", "metrics", "logs", "profiles"];

/// What a replica has counted since it was started.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    /// By the name that metrics have of the client; `None` for requests that are rejected before their client is known.
    pub(super) clients: BTreeMap<Option<String>, Counts>,
    /// Whether quotas hold over several replicas.
    pub(super) shared_quotas: bool,
}

/// What a replica has counted of a client.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counts {
    /// By result.
    pub(super) requests: BTreeMap<String, f64>,
    /// Accepted items, in the order of [`SIGNALS`].
    pub(super) items: [f64; SIGNALS.len()],
    pub(super) bytes: f64,
    pub(super) forged: f64,
    /// Requests over a quota that is not enforced.
    pub(super) shadow: f64,
    /// How much of its burst was used when it sent last, in percent.
    pub(super) burst_used: Option<f64>,
    /// Its limits in units per second. Zero is none.
    pub(super) limits: PerDimension<f64>,
}

impl Reading {
    /// Reads a replica's metrics.
    pub(super) fn of(text: &str) -> Self {
        let mut reading = Reading::default();
        for series in series(text) {
            // Some proxies put a prefix before the names of all metrics.
            let Some(name) = series.name.find("otlp_gate_").and_then(|at| series.name.get(at..)) else {
                continue;
            };
            if name == "otlp_gate_quota_engine_up" {
                reading.shared_quotas = true;
                continue;
            }
            let client = series.label("client").map(str::to_owned);
            if client.is_none() && name != "otlp_gate_requests_total" {
                // It is about the gate, or about the quota of all clients together.
                continue;
            }
            let value = series.value;
            let counts = reading.clients.entry(client).or_default();
            match name {
                "otlp_gate_requests_total" => {
                    let result = series.label("result").unwrap_or_default().to_owned();
                    *counts.requests.entry(result).or_default() += value;
                }
                "otlp_gate_items_total" => {
                    let signal = SIGNALS.iter().position(|signal| Some(*signal) == series.label("signal"));
                    if let Some(sum) = signal.and_then(|at| counts.items.get_mut(at)) {
                        *sum += value;
                    }
                }
                "otlp_gate_bytes_total" => counts.bytes += value,
                "otlp_gate_forged_attributes_total" => counts.forged += value,
                "otlp_gate_shadow_throttled_requests_total" => counts.shadow += value,
                "otlp_gate_quota_used_percent" => counts.burst_used = Some(value),
                _ => {
                    let dimension = Dimension::ALL.into_iter().find(|it| quota_rate(*it) == name);
                    if let Some(dimension) = dimension {
                        counts.limits[dimension] = value;
                    }
                }
            }
        }
        reading
    }
}

impl Counts {
    /// What was counted since `before`. A replica that was restarted has counted from zero.
    pub(super) fn since(&self, before: &Counts) -> Counts {
        let difference = |now: f64, before: f64| if now < before { now } else { now - before };
        let mut items = self.items;
        for (now, before) in items.iter_mut().zip(before.items) {
            *now = difference(*now, before);
        }
        let requests = self.requests.iter().map(|(result, now)| {
            let before = before.requests.get(result).copied().unwrap_or_default();
            (result.clone(), difference(*now, before))
        });
        Counts {
            requests: requests.collect(),
            items,
            bytes: difference(self.bytes, before.bytes),
            forged: difference(self.forged, before.forged),
            shadow: difference(self.shadow, before.shadow),
            ..self.clone()
        }
    }

    /// What of it counts for a limit.
    pub(super) fn charged(&self, dimension: Dimension) -> f64 {
        let [spans, data_points, log_records, samples] = self.items;
        match dimension {
            Dimension::Requests => self.requests.values().sum(),
            Dimension::Bytes => self.bytes,
            Dimension::Items => self.items.iter().sum(),
            Dimension::Spans => spans,
            Dimension::DataPoints => data_points,
            Dimension::LogRecords => log_records,
            Dimension::Samples => samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        otlp_gate_requests_total{client=\"acme\",signal=\"traces\",result=\"accepted\"} 5\n\
        otlp_gate_requests_total{client=\"acme\",signal=\"logs\",result=\"accepted\"} 2\n\
        envoy_otlp_gate_requests_total{signal=\"logs\",result=\"unknown_client\"} 1\n\
        otlp_gate_items_total{client=\"acme\",signal=\"traces\"} 50\n\
        otlp_gate_bytes_total{client=\"acme\",signal=\"traces\"} 500\n\
        otlp_gate_quota_used_percent{client=\"acme\"} 12\n\
        otlp_gate_quota_items_per_second{client=\"acme\"} 100\n\
        otlp_gate_quota_used_percent{} 3\n\
        otlp_gate_policy_revision{} 7\n\
        envoy_cluster_x{} 1\n";

    #[test]
    fn metrics_are_read_by_client() {
        let reading = Reading::of(TEXT);
        let acme = &reading.clients[&Some("acme".to_owned())];
        assert_eq!(acme.requests, BTreeMap::from([("accepted".to_owned(), 7.0)]));
        assert_eq!((acme.items, acme.bytes, acme.burst_used), ([50.0, 0.0, 0.0, 0.0], 500.0, Some(12.0)));
        assert_eq!(acme.limits, PerDimension::default().with(Dimension::Items, 100.0));
        assert_eq!(reading.clients[&None].requests, BTreeMap::from([("unknown_client".to_owned(), 1.0)]));
        assert_eq!((reading.clients.len(), reading.shared_quotas), (2, false));
        assert!(Reading::of("otlp_gate_quota_engine_up{} 0\n").shared_quotas);
    }

    #[test]
    fn a_restarted_replica_counts_from_zero() {
        let before = Counts { bytes: 100.0, forged: 5.0, ..Counts::default() };
        let after = Counts { bytes: 30.0, forged: 7.0, ..Counts::default() };
        let counted = after.since(&before);
        assert_eq!((counted.bytes, counted.forged), (30.0, 2.0));
    }
}
