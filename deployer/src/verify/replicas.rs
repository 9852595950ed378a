//! The case of a quota that holds over several replicas: a client that has used it up at one replica has none at another.

use std::collections::BTreeMap;
use std::time::Duration;

use otlp_gate_core::config::Scope;
use otlp_gate_core::quota::Dimension;
use otlp_gate_wire::otlp::Signal;
use tokio::time::sleep;

use super::case::{Case, CaseResult, Listener};
use super::gate::{RUN, Run, SERVICE};
use crate::cluster::verify_requests;
use crate::config::Config;
use crate::model::Names;
use crate::probe::{GrpcClient, Outcome, Telemetry};
use crate::providers;

const CASE: &str = "valid client over its quota at a second replica: throttled";

/// How many connections are opened. With two replicas, all of them lead to the same one in less than 1 of 100 runs.
const CONNECTIONS: usize = 8;
/// How long a replica may take to report what it has charged: up to 1 s, the answer, and another try if the engine did
/// not answer the first.
const REPORT: Duration = Duration::from_secs(3);
/// In how many rounds each replica is made to report in that time. It learns what others have charged from the answer,
/// and only what they had reported by then.
const ROUNDS: u32 = 3;

/// The case that could not be tried, if the gate's quotas hold over several replicas.
pub(super) fn skipped(config: &Config, reason: &str) -> Option<Case> {
    let shared = config.quotas.effective_scope() != Scope::Replica;
    shared.then(|| Case::skipped(CASE, Listener::Grpc, reason))
}

/// Sends through several replicas, after the valid client has used up its quota at one of them. None if each replica has
/// quotas of its own.
pub(super) async fn check(run: &Run<'_>) -> Option<Case> {
    let config = &run.gate.loaded.config;
    let skip = |reason: &str| skipped(config, reason);
    skip("")?;
    if config.gateway.replicas.get() < 2 {
        return skip("the gateway has one replica");
    }
    Some(match send(run).await {
        Err(reason) => return skip(&reason),
        Ok((replicas, None)) => Case {
            case: CASE.to_owned(),
            listener: Listener::Grpc,
            result: CaseResult::Pass,
            expected: Outcome::THROTTLED.to_string(),
            seen: format!("throttled at {replicas} replicas"),
        },
        Ok((replicas, Some(accepted))) => Case {
            case: CASE.to_owned(),
            listener: Listener::Grpc,
            result: CaseResult::Fail,
            expected: Outcome::THROTTLED.to_string(),
            seen: format!(
                "{accepted}, at one of {replicas} replicas; `otlp-gate status` shows whether all reach the engine"
            ),
        },
    })
}

/// The number of replicas that were reached, and the first response that did not throttle.
async fn send(run: &Run<'_>) -> Result<(usize, Option<String>), String> {
    let gate = run.gate;
    let credentials = gate.credentials.valid.as_ref().map_err(Clone::clone)?;
    let cluster =
        gate.cluster.as_ref().map_err(|reason| format!("the replicas cannot be told apart: {reason}"))?;
    let config = &gate.loaded.config;
    let workload = providers::of(config).workload(&Names::of(&config.gateway));
    let counts = async || {
        let counts = verify_requests(cluster, &workload).await;
        counts.map_err(|reason| format!("the replicas cannot be told apart: {reason}"))
    };
    let limit = gate.client().as_ref().and_then(|it| it.tier.limit(Dimension::Items));
    let burst = limit.map_or(1, |it| usize::try_from(it.capacity).unwrap_or(usize::MAX));
    let marker = run.marker("second-replica", Listener::Grpc);
    let attributes = [SERVICE, (RUN, marker.as_str())];

    let before = counts().await?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = GrpcClient::connect(&gate.grpc, Some(credentials)).await;
        connections.push(connection.map_err(|result| result.to_string())?);
    }
    for _ in 0..ROUNDS {
        // With this a replica reports the client, and learns what others have charged it.
        for connection in &connections {
            connection.export(Signal::Traces, Telemetry { attributes: &attributes, items: 1 }).await;
        }
        sleep(REPORT / ROUNDS).await;
    }
    let replicas = reached(&before, &counts().await?);
    if replicas < 2 {
        return Err(format!("{CONNECTIONS} connections led to the same replica"));
    }
    for connection in &connections {
        let result =
            connection.export(Signal::Traces, Telemetry { attributes: &attributes, items: burst }).await;
        if result.outcome != Outcome::THROTTLED {
            return Ok((replicas, Some(result.to_string())));
        }
    }
    Ok((replicas, None))
}

/// How many replicas have had more requests.
fn reached(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> usize {
    after.iter().filter(|(pod, count)| **count > before.get(*pod).copied().unwrap_or_default()).count()
}
