//! Checks whether clocks agree: Envoy rejects certificates and revocation lists that are not valid yet by its clock.

use http::Request;
use http::header::DATE;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::client::Body;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use super::Check;
use crate::certs::BACKDATED;
use crate::cluster::Cluster;
use crate::output::duration;

/// A smaller difference is harmless, and cannot be distinguished from the time that a response takes.
const TOLERANCE: Duration = Duration::seconds(5);
/// Age of a ready node's lease above which the node's clock is behind. A node renews its lease every 10 s, and is not
/// ready after 40 s without renewal (50 s in later versions).
const MAX_LEASE_AGE: Duration = Duration::seconds(90);

/// What a node's lease shows of its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeClock {
    name: String,
    /// The last renewal of the lease, by the node's clock.
    renewed: OffsetDateTime,
    /// Whether the node is ready: it has renewed the lease lately, by the control plane's clock.
    ready: bool,
}

pub(super) async fn checks(cluster: &Cluster) -> Vec<Check> {
    let before = OffsetDateTime::now_utc();
    let date = server_date(cluster).await;
    let after = OffsetDateTime::now_utc();
    let nodes = node_clocks(cluster).await;
    let now = date.unwrap_or(after);
    // The server's date is older than the leases, which were read afterwards.
    let passed = OffsetDateTime::now_utc() - after;
    date.map(|date| of_server(before, after, date))
        .into_iter()
        .chain([of_nodes(now + passed, nodes)])
        .collect()
}

/// The API server's clock (RFC 9110 section 6.6.1), in whole seconds.
async fn server_date(cluster: &Cluster) -> Option<OffsetDateTime> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let response = cluster.client.send(request).await.ok()?;
    OffsetDateTime::parse(response.headers().get(DATE)?.to_str().ok()?, &Rfc2822).ok()
}

/// The clocks of all nodes; `None` if Nodes or Leases may not be listed.
async fn node_clocks(cluster: &Cluster) -> Option<Vec<NodeClock>> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let leases = leases.list(&ListParams::default()).await.ok()?;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.ok()?;
    let is_ready = |name: &str| {
        let node = nodes.items.iter().find(|it| it.name_any() == name);
        let conditions = node.and_then(|it| it.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let clocks = leases.items.iter().filter_map(|lease| {
        let renewed = lease.spec.as_ref()?.renew_time.as_ref()?.0.as_second();
        let name = lease.name_any();
        let ready = is_ready(&name);
        Some(NodeClock { name, renewed: OffsetDateTime::from_unix_timestamp(renewed).ok()?, ready })
    });
    Some(clocks.collect())
}

/// Compares this machine's clock with the API server's, whose `date` is from between `before` and `after`.
fn of_server(before: OffsetDateTime, after: OffsetDateTime, date: OffsetDateTime) -> Check {
    let subject = "clock";
    // The date has whole seconds, so the server's clock may have been almost a second later.
    let ahead = before - (date + Duration::SECOND);
    let behind = date - after;
    let hint = "synchronise it, for example with NTP (`timedatectl`)";
    if ahead > BACKDATED {
        Check::fail(
            subject,
            format!(
                "this machine's clock is {} ahead of the API server's: certificates and revocation lists that are created here are \
                 not valid yet for the gateway, which rejects all clients with them",
                duration(ahead)
            ),
            format!("{hint}, then run `otlp-gate certs crl` and `otlp-gate certs renew --all`"),
        )
    } else if ahead > TOLERANCE {
        Check::warn(
            subject,
            format!(
                "this machine's clock is {} ahead of the API server's: `otlp-gate certs` backdates by {}, but another CA's \
                 revocation list may not be backdated",
                duration(ahead),
                duration(BACKDATED)
            ),
            hint,
        )
    } else if behind > TOLERANCE {
        Check::warn(
            subject,
            format!(
                "this machine's clock is {} behind the API server's: certificates expire earlier than this machine shows",
                duration(behind)
            ),
            hint,
        )
    } else {
        Check::pass(subject, "this machine's clock and the API server's agree")
    }
}

/// Compares the nodes' clocks with `now`.
fn of_nodes(now: OffsetDateTime, nodes: Option<Vec<NodeClock>>) -> Check {
    let subject = "clocks of nodes";
    let Some(nodes) = nodes else {
        return Check::pass(subject, "unknown: Nodes, or Leases in kube-node-lease, may not be listed");
    };
    let mut wrong = Vec::new();
    for node in &nodes {
        let (ahead, behind) = (node.renewed - now, now - node.renewed);
        if ahead > TOLERANCE {
            wrong.push(format!("{} is {} ahead", node.name, duration(ahead)));
        } else if behind > MAX_LEASE_AGE && node.ready {
            wrong.push(format!("{} is up to {} behind", node.name, duration(behind)));
        }
    }
    if wrong.is_empty() {
        let number = nodes.len();
        return Check::pass(
            subject,
            match number {
                0 => "unknown: nodes have no leases".to_owned(),
                1 => "1 agrees".to_owned(),
                _ => format!("{number} agree"),
            },
        );
    }
    let more = if wrong.len() > 5 { format!(", and {} more", wrong.len() - 5) } else { String::new() };
    wrong.truncate(5);
    Check::warn(
        subject,
        format!("{}{more}, by their leases", wrong.join(", ")),
        "synchronise them: a gateway whose clock is behind rejects new certificates, and all clients while its revocation list is not \
         valid yet; a gateway whose clock is ahead rejects certificates before they expire",
    )
}

#[cfg(test)]
mod tests {
    use super::super::CheckResult;
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn seconds(number: i64) -> Duration {
        Duration::seconds(number)
    }

    #[test]
    fn this_machines_clock_is_compared_with_the_api_servers() {
        for (ahead, took, result, found) in [
            (0, 0, CheckResult::Pass, "agree"),
            (5, 0, CheckResult::Pass, "agree"),
            (-5, 0, CheckResult::Pass, "agree"),
            (20, 0, CheckResult::Warn, "clock is 19 s ahead"),
            (-20, 0, CheckResult::Warn, "clock is 20 s behind"),
            // the response took so long that the difference may be smaller
            (-20, 16, CheckResult::Pass, "agree"),
            (3500, 0, CheckResult::Warn, "58 min ahead"),
            (3700, 0, CheckResult::Fail, "rejects all clients"),
            (86400, 0, CheckResult::Fail, "23 h ahead"),
            (-86400, 0, CheckResult::Warn, "24 h behind"),
        ] {
            let before = NOW + seconds(ahead);
            let check = of_server(before, before + seconds(took), NOW);
            assert_eq!(check.result, result, "{ahead} {took}: {check:?}");
            assert!(check.found.contains(found), "{ahead} {took}: {check:?}");
            assert_eq!(check.hint.is_some(), result != CheckResult::Pass);
        }
    }

    #[test]
    fn nodes_clocks_are_compared_by_their_leases() {
        for (nodes, result, found) in [
            (vec![], CheckResult::Pass, "nodes have no leases"),
            (vec![("a", -9, true)], CheckResult::Pass, "1 agrees"),
            (vec![("a", -9, true), ("b", 3, true), ("c", -80, true)], CheckResult::Pass, "3 agree"),
            (vec![("a", 20, true), ("b", -9, true)], CheckResult::Warn, "a is 20 s ahead, by"),
            (vec![("a", -150, true)], CheckResult::Warn, "a is up to 2 min behind"),
            // a node that is not ready may be gone
            (vec![("a", -150, false)], CheckResult::Pass, "1 agrees"),
            (vec![("a", 99, false); 7], CheckResult::Warn, "and 2 more"),
        ] {
            let nodes: Vec<NodeClock> = nodes
                .into_iter()
                .map(|(name, ahead, ready)| NodeClock {
                    name: name.to_owned(),
                    renewed: NOW + seconds(ahead),
                    ready,
                })
                .collect();
            let check = of_nodes(NOW, Some(nodes.clone()));
            assert_eq!(check.result, result, "{nodes:?}: {check:?}");
            assert!(check.found.contains(found), "{nodes:?}: {check:?}");
        }
        assert!(of_nodes(NOW, None).found.contains("unknown"));
    }

    #[test]
    fn the_date_of_an_http_response_is_parsed() {
        let date = OffsetDateTime::parse("Sat, 28 Nov 2026 05:02:38 GMT", &Rfc2822).unwrap();
        assert_eq!(date.unix_timestamp(), 1_795_842_158);
    }
}
