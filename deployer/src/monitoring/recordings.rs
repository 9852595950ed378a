//! Recording rules, for reports on usage.

use serde_json::{Value, json};

/// One recording rule.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The name of the new metric.
    pub(crate) name: &'static str,
    /// The counter that it sums up.
    counter: &'static str,
    /// What it is, for the docs.
    #[cfg(test)]
    pub(crate) meaning: &'static str,
}

impl Recording {
    /// PromQL. Of one gate: two rule files that record the same series would conflict.
    pub(crate) fn expression(&self, gate: &str) -> String {
        format!("sum by (gate, client, signal) (increase({}{{gate=\"{gate}\"}}[1d]))", self.counter)
    }
}

/// All recording rules.
pub(crate) fn recordings() -> [Recording; 2] {
    [
        Recording {
            name: "otlp_gate:client_items:increase1d",
            counter: "otlp_gate_items_total",
            #[cfg(test)]
            meaning: "items that a client delivered in the last day, by signal",
        },
        Recording {
            name: "otlp_gate:client_bytes:increase1d",
            counter: "otlp_gate_bytes_total",
            #[cfg(test)]
            meaning: "bytes of these, decompressed",
        },
    ]
}

/// The group of the recording rules. Every five minutes is often enough for what a day sums up.
pub(super) fn rule_group(gate: &str) -> Value {
    let rule = |it: Recording| json!({"record": it.name, "expr": it.expression(gate)});
    json!({"name": "otlp-gate-usage", "interval": "5m", "rules": recordings().map(rule)})
}
