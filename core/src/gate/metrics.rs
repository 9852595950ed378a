//! Names of metrics. proxy-wasm's have no labels; names of the form `tag=.=value;.;name` become tagged where the proxy is
//! told to extract them (Istio's `extraStatTags`, Envoy's `stats_tags`).

use otlp_gate_wire::otlp::Signal;

use super::Client;
use crate::quota::Throttled;
use crate::response::Reason;

/// The tag `client` of all clients that metrics do not name.
const OTHER: &str = "other";

/// The gauge that shows which policy a proxy has.
pub const POLICY_REVISION: &str = "otlp_gate_policy_revision";

/// How much of a quota is spent, in percent of what it holds at most, by its tightest limit. None where nothing was charged, or
/// there is no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Of the client's.
    pub own: Option<u64>,
    /// Of that of all clients together.
    pub total: Option<u64>,
}

impl Used {
    /// What a refusal says of it.
    pub fn of(reason: &Reason) -> Used {
        let all = Some(100);
        match reason {
            Reason::Quota { client: Some(_), refusal: Throttled::RetryAfter { .. } } => {
                Used { own: all, total: None }
            }
            Reason::Quota { client: None, refusal: Throttled::RetryAfter { .. } } => {
                Used { own: None, total: all }
            }
            _ => Used::default(),
        }
    }
}

/// A counter, or a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Metric {
    /// Requests, by what became of them (tag `result`).
    Requests,
    /// Spans, data points, log records and samples that went on to the backend.
    Items,
    /// Bytes of inflated messages that went on to the backend.
    Bytes,
    /// Attributes that clients wrote and the gate owns.
    Forged,
    /// Requests that would have been refused if quotas were enforced.
    Shadowed,
    /// Requests admitted without being counted, since the shared counters failed.
    Uncounted,
    /// A gauge: how much of a client's quota is spent; without a client, of that of all together.
    QuotaUsed,
    /// Policies that were not taken, since they have mistakes.
    PolicyRejected,
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Metric::Requests => "otlp_gate_requests_total",
            Metric::Items => "otlp_gate_items_total",
            Metric::Bytes => "otlp_gate_bytes_total",
            Metric::Forged => "otlp_gate_forged_attributes_total",
            Metric::Shadowed => "otlp_gate_shadowed_total",
            Metric::Uncounted => "otlp_gate_uncounted_total",
            Metric::QuotaUsed => "otlp_gate_quota_used_percent",
            Metric::PolicyRejected => "otlp_gate_policy_rejected_total",
        }
    }
}

/// The name of a metric with its tags. A request that is refused before its client or signal is known has no such tag.
pub fn metric_name(
    metric: Metric,
    client: Option<&Client>,
    signal: Option<Signal>,
    result: Option<&str>,
) -> String {
    let client = client.map(|client| if client.listed { client.name.as_str() } else { OTHER });
    let tags = [("client", client), ("signal", signal.map(Signal::name)), ("result", result)];
    let mut name = String::new();
    for (tag, value) in tags.iter().filter_map(|(tag, value)| Some((tag, (*value)?))) {
        name.push_str(tag);
        name.push_str("=.=");
        name.push_str(value);
        name.push_str(";.;");
    }
    name.push_str(metric.name());
    name
}
