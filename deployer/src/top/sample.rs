//! What clients send in a second, over all replicas.

use std::collections::BTreeMap;

use otlp_gate_core::quota::Dimension;
use serde::Serialize;

use super::reading::{Counts, Reading, SIGNALS};

/// What all clients sent between two readings of each replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// The time between the readings.
    pub(super) seconds: f64,
    /// The replicas of the gate.
    pub(super) replicas: Vec<Replica>,
    /// The clients that metrics name, and the others together.
    pub(super) clients: Vec<ClientRates>,
}

/// A replica of the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Replica {
    /// The pod's name, or the address of Envoy's admin interface.
    pub(super) name: String,
    /// Why its metrics cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// What a client sends in a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientRates {
    /// The client's name; `other` for clients without metrics of their own; none for requests that were rejected before
    /// their client was known.
    pub(super) client: Option<String>,
    /// Accepted items by signal.
    pub(super) items: BTreeMap<&'static str, f64>,
    /// Accepted bytes.
    pub(super) bytes: f64,
    /// Requests by result.
    pub(super) requests: BTreeMap<String, f64>,
    /// Attributes that it sent under owned keys.
    pub(super) forged_attributes: f64,
    /// Requests over a quota that is not enforced.
    pub(super) shadow_throttled: f64,
    /// How much of its quota it uses; none if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota: Option<QuotaShare>,
}

/// How much of its quota a client uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuotaShare {
    /// The rate in percent of the limit, of the limit that it is nearest to. If quotas hold per replica, on the replica
    /// where that is most.
    pub(super) percent: f64,
    /// The key of that limit, such as `items`.
    pub(super) limit: &'static str,
    /// How much of its burst was used when it sent last, in percent, on the replica where that is most. It is 100 if it
    /// was throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) burst_used_percent: Option<f64>,
    /// Its limits in units per second, by key. They hold for each replica, or over all of them.
    pub(super) limits: BTreeMap<&'static str, f64>,
    /// Whether they hold over all replicas.
    pub(super) shared: bool,
}

/// The readings of a replica, and the seconds between them.
pub(super) struct Readings<'a> {
    pub(super) before: &'a Reading,
    pub(super) now: &'a Reading,
    pub(super) seconds: f64,
}

/// Adds up what the clients sent on all replicas.
pub(super) fn clients(replicas: &[Readings<'_>]) -> Vec<ClientRates> {
    let mut all: BTreeMap<&Option<String>, Vec<(Counts, f64)>> = BTreeMap::new();
    let nothing = Counts::default();
    for Readings { before, now, seconds } in replicas {
        for (client, counts) in &now.clients {
            let before = before.clients.get(client).unwrap_or(&nothing);
            all.entry(client).or_default().push((counts.since(before), *seconds));
        }
    }
    let shared = replicas.iter().any(|it| it.now.shared_quotas);
    all.into_iter().map(|(client, counts)| rates(client.clone(), &counts, shared)).collect()
}

fn rates(client: Option<String>, replicas: &[(Counts, f64)], shared: bool) -> ClientRates {
    let sum = |of: &dyn Fn(&Counts) -> f64| -> f64 {
        replicas.iter().map(|(counts, seconds)| of(counts) / seconds).sum()
    };
    let mut requests: BTreeMap<String, f64> = BTreeMap::new();
    for (counts, seconds) in replicas {
        for (result, number) in counts.requests.iter().filter(|(_, number)| **number > 0.0) {
            *requests.entry(result.clone()).or_default() += number / seconds;
        }
    }
    let items = SIGNALS.into_iter().enumerate();
    ClientRates {
        items: items
            .map(|(at, signal)| (signal, sum(&|it| it.items.get(at).copied().unwrap_or_default())))
            .collect(),
        bytes: sum(&|it| it.bytes),
        requests,
        forged_attributes: sum(&|it| it.forged),
        shadow_throttled: sum(&|it| it.shadow),
        quota: client.as_ref().and_then(|_| share(replicas, shared)),
        client,
    }
}

fn share(replicas: &[(Counts, f64)], shared: bool) -> Option<QuotaShare> {
    let mut limits = BTreeMap::new();
    let mut nearest: Option<(f64, &'static str)> = None;
    for dimension in Dimension::ALL {
        let limit = replicas.iter().map(|(counts, _)| counts.limits[dimension]).fold(0.0, f64::max);
        if limit <= 0.0 {
            continue;
        }
        limits.insert(dimension.key(), limit);
        let rates = replicas.iter().map(|(counts, seconds)| counts.charged(dimension) / seconds);
        let rate = if shared { rates.sum() } else { rates.fold(0.0, f64::max) };
        let percent = 100.0 * rate / limit;
        if nearest.is_none_or(|(most, _)| percent > most) {
            nearest = Some((percent, dimension.key()));
        }
    }
    let (percent, limit) = nearest?;
    let used = replicas.iter().filter_map(|(counts, _)| counts.burst_used);
    let burst_used_percent =
        used.fold(None, |most: Option<f64>, it| Some(most.map_or(it, |most| most.max(it))));
    Some(QuotaShare { percent, limit, burst_used_percent, limits, shared })
}

impl ClientRates {
    /// Accepted requests.
    pub(super) fn accepted(&self) -> f64 {
        self.of(|result| result == "accepted")
    }

    /// Requests that were rejected because of a quota.
    pub(super) fn throttled(&self) -> f64 {
        self.of(|result| matches!(result, "over_quota" | "over_total"))
    }

    /// Requests that the backend rejected or did not answer.
    pub(super) fn failed(&self) -> f64 {
        self.of(|result| matches!(result, "backend_refused" | "backend_failed" | "unanswered"))
    }

    /// Requests that the gate rejected for another reason.
    pub(super) fn rejected(&self) -> f64 {
        let exports =
            self.of(|result| !matches!(result, "serving" | "not_serving" | "unknown_service" | "preflight"));
        exports - self.accepted() - self.throttled() - self.failed()
    }

    /// The results of rejected requests, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<&str> {
        let known = |result: &str| {
            matches!(result, "accepted" | "serving" | "not_serving" | "unknown_service" | "preflight")
        };
        let mut reasons: Vec<_> = self.requests.iter().filter(|(result, _)| !known(result)).collect();
        reasons.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        reasons.into_iter().map(|(result, _)| result.as_str()).collect()
    }

    /// Accepted items of all signals.
    pub(super) fn all_items(&self) -> f64 {
        self.items.values().sum()
    }

    fn of(&self, which: impl Fn(&str) -> bool) -> f64 {
        // An empty sum is -0.0.
        self.requests.iter().filter(|(result, _)| which(result)).map(|(_, rate)| rate).sum::<f64>() + 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(items: f64, accepted: f64, throttled: f64) -> Reading {
        let text = format!(
            "otlp_gate_items_total{{client=\"acme\",signal=\"logs\"}} {items}\n\
             otlp_gate_requests_total{{client=\"acme\",signal=\"logs\",result=\"accepted\"}} {accepted}\n\
             otlp_gate_requests_total{{client=\"acme\",signal=\"logs\",result=\"over_quota\"}} {throttled}\n\
             otlp_gate_requests_total{{client=\"acme\",result=\"serving\"}} {accepted}\n\
             otlp_gate_quota_items_per_second{{client=\"acme\"}} 100\n\
             otlp_gate_quota_requests_per_second{{client=\"acme\"}} 1000\n\
             otlp_gate_quota_bytes_per_second{{client=\"acme\"}} 0\n\
             otlp_gate_quota_used_percent{{client=\"acme\"}} {throttled}\n"
        );
        Reading::of(&text)
    }

    #[test]
    fn rates_are_added_up_and_the_share_is_that_of_the_busiest_replica() {
        let (a, b) = (reading(100.0, 10.0, 0.0), reading(200.0, 12.0, 4.0));
        let nothing = Reading::default();
        let replicas = [
            Readings { before: &a, now: &b, seconds: 2.0 },
            Readings { before: &nothing, now: &a, seconds: 4.0 },
        ];
        let [acme] = &clients(&replicas)[..] else { panic!("one client") };
        assert_eq!((acme.items["logs"], acme.items["traces"]), (75.0, 0.0));
        assert_eq!((acme.accepted(), acme.throttled(), acme.rejected(), acme.failed()), (3.5, 2.0, 0.0, 0.0));
        assert_eq!(acme.reasons(), ["over_quota"]);
        let quota = acme.quota.as_ref().unwrap();
        assert_eq!((quota.percent, quota.limit, quota.burst_used_percent), (50.0, "items", Some(4.0)));
        assert_eq!(quota.limits, BTreeMap::from([("items", 100.0), ("requests", 1000.0)]));
        // With an engine they count together.
        let shared = Reading { shared_quotas: true, ..b.clone() };
        let replicas = [
            Readings { before: &a, now: &shared, seconds: 2.0 },
            Readings { before: &nothing, now: &a, seconds: 4.0 },
        ];
        assert_eq!(clients(&replicas)[0].quota.as_ref().unwrap().percent, 75.0);
    }
}
