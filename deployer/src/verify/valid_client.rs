//! Cases of the valid client: every signal is accepted, and its quota is enforced.

use std::time::Duration;

use hyper::StatusCode;
use otlp_gate_core::quota::Dimension;
use otlp_gate_wire::otlp::Signal;
use tokio::time::sleep;

use super::case::{Case, CaseResult, Listener};
use super::gate::{GateUnderTest, RUN, Reachable, Run, SERVICE};
use crate::config::{Backend, Service};
use crate::probe::{self, GrpcClient, Outcome, ProbeResult, Telemetry};

const OVER_QUOTA: &str = "valid client over its quota: throttled";
const TOO_LARGE: &str = "request larger than the quota: rejected";

/// Value of forged attributes.
const FORGED: &str = "forged";

/// An earlier run may have used up the quota, which is full again after five seconds. Up to this many attempts are
/// made.
const ATTEMPTS: usize = 30;
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// A request that must be accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Export {
    /// Identifies the request in its marker.
    pub(super) name: &'static str,
    /// Title of the case that it is accepted.
    case: &'static str,
    /// Title of the case of what the backend receives.
    pub(super) arrival_case: &'static str,
    signal: Signal,
    pub(super) listener: Listener,
    /// Whether it sends a value for every owned attribute.
    forged: bool,
}

const TRACES: Export = Export {
    name: "traces",
    case: "valid client sends traces: accepted",
    arrival_case: "traces at the backend: configured attributes",
    signal: Signal::Traces,
    listener: Listener::Grpc,
    forged: false,
};

const PROFILES: Export = Export {
    name: "profiles",
    case: "valid client sends profiles: accepted",
    arrival_case: "profiles at the backend: configured attributes",
    signal: Signal::Profiles,
    ..TRACES
};

/// The case of profiles where the backend takes none.
const NO_PROFILES: &str = "valid client sends profiles: rejected as unsupported";

const EXPORTS: [Export; 6] = [
    TRACES,
    Export {
        name: "metrics",
        case: "valid client sends metrics: accepted",
        arrival_case: "metrics at the backend: configured attributes",
        signal: Signal::Metrics,
        ..TRACES
    },
    Export {
        name: "logs",
        case: "valid client sends logs: accepted",
        arrival_case: "logs at the backend: configured attributes",
        signal: Signal::Logs,
        ..TRACES
    },
    PROFILES,
    Export {
        name: "forged-attributes",
        case: "valid client sends forged attributes: accepted",
        arrival_case: "forged attributes at the backend: removed",
        forged: true,
        ..TRACES
    },
    Export { listener: Listener::Http, ..TRACES },
];

/// What became of the requests that must be accepted.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) cases: Vec<Case>,
    /// The requests that were accepted.
    pub(super) accepted: Vec<Export>,
    /// The listeners that a valid client can connect to.
    pub(super) reachable: Reachable,
}

/// Sends every signal.
pub(super) async fn send_signals(run: &Run<'_>) -> Sent {
    let gate = run.gate;
    let mut sent =
        Sent { cases: Vec::new(), accepted: Vec::new(), reachable: Reachable { grpc: false, http: false } };
    let credentials = match &gate.credentials.valid {
        Ok(credentials) => credentials,
        Err(reason) => {
            sent.cases.extend(EXPORTS.map(|it| Case::skipped(it.case, it.listener, reason)));
            sent.reachable = reachable(gate).await;
            return sent;
        }
    };
    let grpc = GrpcClient::connect(&gate.grpc, Some(credentials)).await;
    let owned = gate.loaded.policy.owned_attributes();
    for export in EXPORTS {
        let marker = run.marker(export.name, export.listener);
        let mut attributes = vec![SERVICE, (RUN, marker.as_str())];
        if export.forged {
            attributes.extend(owned.iter().filter(|key| *key != RUN).map(|key| (key.as_str(), FORGED)));
        }
        let telemetry = Telemetry { attributes: &attributes, items: 1 };
        let result = retry_while_throttled(async || match (export.listener, &grpc) {
            (Listener::Grpc, Err(result)) => result.clone(),
            (Listener::Grpc, Ok(grpc)) => grpc.export(export.signal, telemetry).await,
            (Listener::Http, _) => {
                probe::export_http(&gate.http, credentials, export.signal, telemetry).await
            }
        })
        .await;
        let connected = result.outcome != Outcome::NoConnection;
        match export.listener {
            Listener::Grpc => sent.reachable.grpc |= connected,
            Listener::Http => sent.reachable.http |= connected,
        }
        let case = match (&gate.loaded.config.backend, export.signal, result.outcome) {
            (backend, Signal::Profiles, _) if !backend.takes_profiles() => {
                Case::new(NO_PROFILES, export.listener, Outcome::UNIMPLEMENTED, &result)
            }
            (Backend::Service(Service { profiles: None, .. }), Signal::Profiles, Outcome::UNIMPLEMENTED) => {
                let reason =
                    "the Service takes no profiles; `backend.service.profiles: false` rejects them clearly";
                Case::skipped(export.case, export.listener, reason)
            }
            _ => Case::new(export.case, export.listener, Outcome::Accepted, &result),
        };
        if case.case == export.case && case.result == CaseResult::Pass {
            sent.accepted.push(export);
        }
        sent.cases.push(case);
    }
    sent
}

/// Whether the listeners answer, as far as a client without a certificate can tell.
async fn reachable(gate: &GateUnderTest<'_>) -> Reachable {
    let answers = async |listener: Listener| match &gate.credentials.no_certificate {
        Ok(credentials) => probe::server_answers(gate.address(listener), credentials, listener.alpn()).await,
        Err(_) => false,
    };
    let (grpc, http) = tokio::join!(answers(Listener::Grpc), answers(Listener::Http));
    Reachable { grpc, http }
}

/// Sends more than the quota, which is small for the reserved client.
pub(super) async fn exceed_quota(run: &Run<'_>, reachable: Reachable) -> Vec<Case> {
    let gate = run.gate;
    let skip =
        |reason: &str| [OVER_QUOTA, TOO_LARGE].map(|it| Case::skipped(it, Listener::Grpc, reason)).into();
    let credentials = match &gate.credentials.valid {
        Ok(credentials) => credentials,
        Err(reason) => return skip(reason),
    };
    if gate.loaded.policy.shadow() {
        return skip("`quotas.mode` is `shadow`: requests over quota are accepted");
    }
    let client = gate.client();
    let Some(limit) = client.as_ref().and_then(|it| it.tier.limit(Dimension::Items)) else {
        return skip("the valid client's certificate matches no rule of the configuration");
    };
    let grpc = match GrpcClient::connect(&gate.grpc, Some(credentials)).await {
        Ok(grpc) if reachable.grpc => grpc,
        _ => return skip(&format!("no client can connect to {}", gate.grpc)),
    };
    let marker = run.marker("over-quota", Listener::Grpc);
    let attributes = [SERVICE, (RUN, marker.as_str())];
    let burst = usize::try_from(limit.capacity).unwrap_or(usize::MAX);
    let send = |items| grpc.export(Signal::Traces, Telemetry { attributes: &attributes, items });
    let too_large = send(burst + 1).await;
    let mut over_quota = send(burst).await;
    for _ in 0..ATTEMPTS {
        if over_quota.outcome != Outcome::Accepted {
            break;
        }
        over_quota = send(burst).await;
    }
    vec![
        Case::new(OVER_QUOTA, Listener::Grpc, Outcome::THROTTLED, &over_quota),
        Case::new(TOO_LARGE, Listener::Grpc, Outcome::TOO_LARGE, &too_large),
    ]
}

async fn retry_while_throttled(mut send: impl AsyncFnMut() -> ProbeResult) -> ProbeResult {
    const THROTTLED: [Outcome; 2] =
        [Outcome::THROTTLED, Outcome::HttpRejected(StatusCode::TOO_MANY_REQUESTS)];
    let mut result = send().await;
    for _ in 1..ATTEMPTS {
        if !THROTTLED.contains(&result.outcome) {
            break;
        }
        sleep(RETRY_INTERVAL).await;
        result = send().await;
    }
    result
}
