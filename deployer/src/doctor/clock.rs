//! Whether the clocks agree: Envoy refuses certificates and revocation lists that are from its future.

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

/// Less is no matter, and an answer on its way looks like it.
const TOLERANCE: Duration = Duration::seconds(5);
/// A node renews its lease every 10 s, and is ready no more after 40 s without (50 s in later versions).
const RENEWED_WITHIN: Duration = Duration::seconds(90);

/// What one node says of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeClock {
    name: String,
    /// When it last renewed its lease, by its own clock.
    renewed: OffsetDateTime,
    /// Whether it has just renewed it, by the clock of the control plane.
    ready: bool,
}

pub(super) async fn checks(cluster: &Cluster) -> Vec<Check> {
    let before = OffsetDateTime::now_utc();
    let date = server_date(cluster).await;
    let after = OffsetDateTime::now_utc();
    let nodes = node_clocks(cluster).await;
    let now = date.unwrap_or(after);
    // What the server said when it was asked is older than what nodes say since.
    let passed = OffsetDateTime::now_utc() - after;
    date.map(|date| of_server(before, after, date))
        .into_iter()
        .chain([of_nodes(now + passed, nodes)])
        .collect()
}

/// The API server's clock (RFC 9110 section 6.6.1), in whole seconds.
async fn server_date(cluster: &Cluster) -> Option<OffsetDateTime> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let answer = cluster.client.send(request).await.ok()?;
    OffsetDateTime::parse(answer.headers().get(DATE)?.to_str().ok()?, &Rfc2822).ok()
}

/// `None` where they may not be seen.
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

/// This machine's clock against the API server's, whose `date` is of some time between `before` and `after`.
fn of_server(before: OffsetDateTime, after: OffsetDateTime, date: OffsetDateTime) -> Check {
    let subject = "clock";
    // It has whole seconds: its clock may have shown almost one more.
    let ahead = before - (date + Duration::SECOND);
    let behind = date - after;
    let cure = "set it right, as with NTP (`timedatectl`)";
    if ahead > BACKDATED {
        Check::fail(
            subject,
            format!(
                "this machine's is {} ahead of the API server's: certificates and lists that are made here are from the gate's \
                 future, with which it refuses all clients",
                duration(ahead)
            ),
            format!("{cure}, then `otlp-gate certs crl` and `otlp-gate certs renew --all`"),
        )
    } else if ahead > TOLERANCE {
        Check::warn(
            subject,
            format!(
                "this machine's is {} ahead of the API server's; what `otlp-gate certs` makes is dated back by {}, a list of \
                 another CA may not be",
                duration(ahead),
                duration(BACKDATED)
            ),
            cure,
        )
    } else if behind > TOLERANCE {
        Check::warn(
            subject,
            format!(
                "this machine's is {} behind the API server's: certificates end earlier than it shows here",
                duration(behind)
            ),
            cure,
        )
    } else {
        Check::pass(subject, "this machine's and the API server's agree")
    }
}

/// The nodes' clocks against `now`.
fn of_nodes(now: OffsetDateTime, nodes: Option<Vec<NodeClock>>) -> Check {
    let subject = "clocks of nodes";
    let Some(nodes) = nodes else {
        return Check::pass(subject, "not seen: Nodes, or Leases in kube-node-lease, may not be listed");
    };
    let mut wrong = Vec::new();
    for node in &nodes {
        let (ahead, behind) = (node.renewed - now, now - node.renewed);
        if ahead > TOLERANCE {
            wrong.push(format!("{} is {} ahead", node.name, duration(ahead)));
        } else if behind > RENEWED_WITHIN && node.ready {
            wrong.push(format!("{} is up to {} behind", node.name, duration(behind)));
        }
    }
    if wrong.is_empty() {
        let number = nodes.len();
        return Check::pass(
            subject,
            match number {
                0 => "not seen: there are no leases of nodes".to_owned(),
                1 => "1 agrees".to_owned(),
                _ => format!("{number} agree"),
            },
        );
    }
    let more = if wrong.len() > 5 { format!(", and {} more", wrong.len() - 5) } else { String::new() };
    wrong.truncate(5);
    Check::warn(
        subject,
        format!("{}{more}, as their leases show", wrong.join(", ")),
        "set them right: a gateway there whose clock is behind refuses all clients while a revocation list is from its future, and \
         new certificates; one that is ahead refuses certificates before they end",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn seconds(number: i64) -> Duration {
        Duration::seconds(number)
    }

    #[test]
    fn this_machines_clock_is_judged_by_the_api_servers() {
        for (ahead, took, verdict, found) in [
            (0, 0, Verdict::Pass, "agree"),
            (5, 0, Verdict::Pass, "agree"),
            (-5, 0, Verdict::Pass, "agree"),
            (20, 0, Verdict::Warn, "this machine's is 19 s ahead"),
            (-20, 0, Verdict::Warn, "this machine's is 20 s behind"),
            // the answer took so long that it says less
            (-20, 16, Verdict::Pass, "agree"),
            (3500, 0, Verdict::Warn, "58 min ahead"),
            (3700, 0, Verdict::Fail, "refuses all clients"),
            (86400, 0, Verdict::Fail, "23 h ahead"),
            (-86400, 0, Verdict::Warn, "24 h behind"),
        ] {
            let before = NOW + seconds(ahead);
            let check = of_server(before, before + seconds(took), NOW);
            assert_eq!(check.verdict, verdict, "{ahead} {took}: {check:?}");
            assert!(check.found.contains(found), "{ahead} {took}: {check:?}");
            assert_eq!(check.cure.is_some(), verdict != Verdict::Pass);
        }
    }

    #[test]
    fn nodes_clocks_are_judged_by_their_leases() {
        for (nodes, verdict, found) in [
            (vec![], Verdict::Pass, "there are no leases"),
            (vec![("a", -9, true)], Verdict::Pass, "1 agrees"),
            (vec![("a", -9, true), ("b", 3, true), ("c", -80, true)], Verdict::Pass, "3 agree"),
            (vec![("a", 20, true), ("b", -9, true)], Verdict::Warn, "a is 20 s ahead, as"),
            (vec![("a", -150, true)], Verdict::Warn, "a is up to 2 min behind"),
            // it is gone, and its clock with it
            (vec![("a", -150, false)], Verdict::Pass, "1 agrees"),
            (vec![("a", 99, false); 7], Verdict::Warn, "and 2 more"),
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
            assert_eq!(check.verdict, verdict, "{nodes:?}: {check:?}");
            assert!(check.found.contains(found), "{nodes:?}: {check:?}");
        }
        assert!(of_nodes(NOW, None).found.contains("not seen"));
    }

    #[test]
    fn the_date_of_an_http_answer_is_read() {
        let date = OffsetDateTime::parse("Sat, 28 Nov 2026 05:02:38 GMT", &Rfc2822).unwrap();
        assert_eq!(date.unix_timestamp(), 1_795_842_158);
    }
}
