//! Names and tags of metrics.

use core::fmt;
use std::cell::{Cell, OnceCell};

use otlp_gate_wire::otlp::Signal;

use crate::quota::{Dimension, Throttled};
use crate::response::Reason;

/// The gauge of the revision of the policy that a proxy has.
pub const POLICY_REVISION: &str = "otlp_gate_policy_revision";

/// The gauge of whether the engine of shared quotas answers.
pub const ENGINE_UP: &str = "otlp_gate_quota_engine_up";

/// The gauge of when the engine of shared quotas answered last, in seconds since the Unix epoch.
pub const ENGINE_ANSWERED: &str = "otlp_gate_quota_engine_answered_seconds";

/// The gauge of how many replicas reported to the engine of shared quotas in the last 15 s.
pub(super) const ENGINE_REPLICAS: &str = "otlp_gate_quota_engine_replicas";

/// The gauge of how many of them have other limits than this one.
pub(super) const ENGINE_OTHER_LIMITS: &str = "otlp_gate_quota_engine_replicas_with_other_limits";

/// The counter of new connections with an `x-forwarded-client-cert` that the proxy did not write, where no hop is
/// trusted.
pub const FOREIGN_CERTIFICATES: &str = "otlp_gate_foreign_client_cert_headers_total";

/// The counter of requests.
pub const REQUESTS: &str = "otlp_gate_requests_total";

/// The gauge of a rate of a client's quota, in units per second.
pub fn quota_rate(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Requests => "otlp_gate_quota_requests_per_second",
        Dimension::Bytes => "otlp_gate_quota_bytes_per_second",
        Dimension::Items => "otlp_gate_quota_items_per_second",
        Dimension::Spans => "otlp_gate_quota_spans_per_second",
        Dimension::DataPoints => "otlp_gate_quota_data_points_per_second",
        Dimension::LogRecords => "otlp_gate_quota_log_records_per_second",
        Dimension::Samples => "otlp_gate_quota_samples_per_second",
    }
}

/// The value of a metric: which one, and of which client, signal and result. A request that is rejected before its
/// client or signal is known has no such tag.
///
/// The text is the metric's name in a proxy whose metrics have no labels, as in proxy-wasm. The proxy extracts tags
/// from names of the form `tag=.=value;.;name` where it is configured to (Istio's `extraStatTags`, Envoy's
/// `stats_tags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series<'a> {
    /// The metric's name.
    pub name: &'static str,
    /// The tag `client`.
    pub client: Option<&'a str>,
    /// The tag `signal`.
    pub signal: Option<&'static str>,
    /// The tag `result`.
    pub result: Option<&'a str>,
}

impl<'a> Series<'a> {
    /// A metric without tags.
    pub const fn untagged(name: &'static str) -> Self {
        Series { name, client: None, signal: None, result: None }
    }

    /// Its tags and their values.
    pub fn tags(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        [("client", self.client), ("signal", self.signal), ("result", self.result)]
            .into_iter()
            .filter_map(|(tag, value)| Some((tag, value?)))
    }
}

impl fmt::Display for Series<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tag, value) in self.tags() {
            write!(formatter, "{tag}=.={value};.;")?;
        }
        formatter.write_str(self.name)
    }
}

/// A metric, with one set of tags that it is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The metric's name.
    pub name: &'static str,
    /// Whether it is a gauge, and not a counter.
    pub gauge: bool,
    /// The names of its tags, in the order of [`Series::tags`].
    pub tags: &'static [&'static str],
}

/// All metrics but those of the engine of shared quotas, for a proxy that must know them when it is configured.
pub fn definitions() -> impl Iterator<Item = Definition> {
    const NONE: &[&[&str]] = &[&[]];
    const CLIENT: &[&[&str]] = &[&["client"]];
    const CLIENT_SIGNAL: &[&[&str]] = &[&["client", "signal"]];
    const RESULTS: &[&[&str]] =
        &[&["result"], &["client", "result"], &["signal", "result"], &["client", "signal", "result"]];
    let counters = [
        (Metric::Requests, RESULTS),
        (Metric::Items, CLIENT_SIGNAL),
        (Metric::Bytes, CLIENT_SIGNAL),
        (Metric::ForgedAttributes, CLIENT),
        (Metric::ShadowThrottled, CLIENT_SIGNAL),
        (Metric::Unmetered, CLIENT_SIGNAL),
        (Metric::ForeignCertificates, NONE),
        (Metric::RejectedPolicies, NONE),
    ];
    let counters = counters.map(|(metric, tags)| (metric.name(), false, tags));
    let rates = Dimension::ALL.map(|dimension| (quota_rate(dimension), true, CLIENT));
    let gauges = [
        (POLICY_REVISION, true, NONE),
        (Metric::QuotaUsed.name(), true, NONE),
        (Metric::QuotaUsed.name(), true, CLIENT),
    ];
    counters
        .into_iter()
        .chain(rates)
        .chain(gauges)
        .flat_map(|(name, gauge, sets)| sets.iter().map(move |tags| Definition { name, gauge, tags }))
}

/// How much of a quota is used, in percent of its burst, by its tightest limit. `None` where nothing was charged, or
/// where there is no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaUsed {
    /// Of the client's quota.
    pub own: Option<u64>,
    /// Of the quota of all clients together.
    pub total: Option<u64>,
}

impl QuotaUsed {
    /// All of the quota that a request was throttled by.
    pub fn of(reason: &Reason) -> QuotaUsed {
        let all = Some(100);
        match reason {
            Reason::Quota { client: Some(_), throttled: Throttled::RetryAfter { .. } } => {
                QuotaUsed { own: all, total: None }
            }
            Reason::Quota { client: None, throttled: Throttled::RetryAfter { .. } } => {
                QuotaUsed { own: None, total: all }
            }
            _ => QuotaUsed::default(),
        }
    }
}

/// A counter, or a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// Requests by result (tag `result`).
    Requests,
    /// Spans, data points, log records and samples that the backend accepted.
    Items,
    /// Bytes of messages that the backend accepted, as received and inflated.
    Bytes,
    /// Owned attributes that clients sent and the gate removed.
    ForgedAttributes,
    /// Requests over a quota that is not enforced (`mode: shadow`).
    ShadowThrottled,
    /// Requests that were forwarded without being charged, because the shared store failed.
    Unmetered,
    /// A gauge: how much of a client's quota is used, in percent; without a client, of the quota of all clients
    /// together.
    QuotaUsed,
    /// New connections with an `x-forwarded-client-cert` that is not the proxy's own, where no hop is trusted.
    ForeignCertificates,
    /// A gauge: a rate of a client's quota, in units per second.
    QuotaRate(Dimension),
    /// Reports to the engine of shared quotas, by result.
    QuotaReports,
    /// Reports that found a bucket which owes more than its burst, by more than 2 percent.
    QuotaOver,
    /// Policies that were rejected because they have mistakes.
    RejectedPolicies,
}

impl Metric {
    pub(super) fn name(self) -> &'static str {
        match self {
            Metric::Requests => REQUESTS,
            Metric::Items => "otlp_gate_items_total",
            Metric::Bytes => "otlp_gate_bytes_total",
            Metric::ForgedAttributes => "otlp_gate_forged_attributes_total",
            Metric::ShadowThrottled => "otlp_gate_shadow_throttled_requests_total",
            Metric::Unmetered => "otlp_gate_unmetered_requests_total",
            Metric::QuotaUsed => "otlp_gate_quota_used_percent",
            Metric::ForeignCertificates => FOREIGN_CERTIFICATES,
            Metric::QuotaRate(dimension) => quota_rate(dimension),
            Metric::QuotaReports => "otlp_gate_quota_reports_total",
            Metric::QuotaOver => "otlp_gate_quota_over_burst_total",
            Metric::RejectedPolicies => "otlp_gate_rejected_policies_total",
        }
    }
}

/// The ids of a client's metrics that nearly every request needs, once the proxy has defined them.
#[derive(Debug, Default)]
pub(super) struct ClientMetrics {
    /// By signal.
    pub(super) accepted: [Cell<Option<AcceptedCounters>>; Signal::ALL.len()],
    /// The gauge of how much of its quota is used.
    pub(super) used: OnceCell<Option<u32>>,
}

/// The ids of the counters that an accepted request adds to.
#[derive(Debug, Clone, Copy)]
pub(super) struct AcceptedCounters {
    pub(super) requests: Option<u32>,
    pub(super) items: Option<u32>,
    pub(super) bytes: Option<u32>,
}
