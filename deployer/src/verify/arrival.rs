//! Cases of what the backend receives of accepted requests: exactly the attributes that the policy sets.

use otlp_gate_core::policy::{Client, VERIFY_ATTRIBUTE};

use super::canary::{self, Attributes};
use super::case::{Case, CaseResult};
use super::gate::{Backend, GateUnderTest, RUN, Run, SERVICE};
use super::valid_client::Export;
use crate::error::Error;

/// Compares what the backend received with what the policy sets.
///
/// # Errors
/// The Collector's logs cannot be read.
pub(super) async fn check(run: &Run<'_>, accepted: &[Export]) -> Result<Vec<Case>, Error> {
    let markers: Vec<String> = accepted.iter().map(|it| run.marker(it.name, it.listener)).collect();
    let received = match &run.gate.backend {
        Backend::Unreadable(reason) => Err(reason),
        Backend::Collector { cluster, namespace, labels } => {
            let values: Vec<&str> = markers.iter().map(String::as_str).collect();
            Ok(canary::received(cluster, namespace, labels, RUN, &values).await?)
        }
    };
    let case = |(export, marker): (&Export, &String)| match &received {
        Err(reason) => Case::skipped(export.arrival_case, export.listener, *reason),
        Ok(received) => {
            let received: Vec<&Attributes> =
                received.iter().filter(|it| it.get(RUN) == Some(marker)).collect();
            compare(export, &expected(run.gate, marker), &received)
        }
    };
    Ok(accepted.iter().zip(&markers).map(case).collect())
}

fn compare(export: &Export, expected: &Attributes, received: &[&Attributes]) -> Case {
    Case {
        case: export.arrival_case.to_owned(),
        listener: export.listener,
        result: if received == [expected] { CaseResult::Pass } else { CaseResult::Fail },
        expected: text(expected),
        seen: match received {
            [] => "not received".to_owned(),
            all => all.iter().map(|it| text(it)).collect::<Vec<_>>().join("; "),
        },
    }
}

/// The attributes that the backend must receive: those that were sent and are not owned, and those that the policy
/// sets.
fn expected(gate: &GateUnderTest<'_>, marker: &str) -> Attributes {
    let sent = [SERVICE, (RUN, marker)];
    let sent = sent.into_iter().filter(|(key, _)| !gate.loaded.policy.owned().owns(key));
    let mut expected: Attributes = sent.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let client = gate.client();
    let set = client.iter().flat_map(Client::attributes);
    expected.extend(set.map(|(key, value)| (key.to_owned(), value.to_owned())));
    expected
}

/// Attributes as `key=value`, without those that every request of a verification has.
fn text(attributes: &Attributes) -> String {
    let pairs: Vec<String> = attributes
        .iter()
        .filter(|(key, _)| ![RUN, VERIFY_ATTRIBUTE, SERVICE.0].contains(&key.as_str()))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if pairs.is_empty() { "no other attributes".to_owned() } else { pairs.join(", ") }
}
