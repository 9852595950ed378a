//! Cases of clients that must be rejected.

use hyper::StatusCode;
use otlp_gate_wire::otlp::Signal;

use super::case::{Case, Listener};
use super::gate::{GateUnderTest, Reachable, SERVICE, unreachable};
use crate::config::ClientCa;
use crate::probe::{self, Credentials, Outcome, Telemetry};

const NO_TLS: &str = "client without TLS: connection rejected";
const NO_CERTIFICATE: &str = "client without certificate: connection rejected";
const UNTRUSTED_CA: &str = "certificate of an untrusted CA: connection rejected";
const EXPIRED: &str = "expired certificate: connection rejected";
pub(super) const REVOKED: &str = "revoked certificate: connection rejected";
const NO_RULE: &str = "certificate matches no rule: permission denied";

const ONE_ITEM: Telemetry<'_> = Telemetry { attributes: &[SERVICE], items: 1 };

/// Clients that use TLS.
pub(super) async fn with_tls(gate: &GateUnderTest<'_>, on: Listener, reachable: Reachable) -> Vec<Case> {
    let of = &gate.credentials;
    let (no_certificate, untrusted, expired, revoked, unknown) = tokio::join!(
        rejected_connection(gate, NO_CERTIFICATE, &of.no_certificate, on, reachable),
        rejected_connection(gate, UNTRUSTED_CA, &of.untrusted, on, reachable),
        rejected_connection(gate, EXPIRED, &of.expired, on, reachable),
        revoked(gate, &of.revoked, on, reachable),
        rejected_request(gate, on),
    );
    vec![no_certificate, untrusted, expired, revoked, unknown]
}

/// A client that sends gRPC in plain text.
pub(super) async fn without_tls(gate: &GateUnderTest<'_>, reachable: Reachable) -> Case {
    if !reachable.grpc {
        return Case::skipped(NO_TLS, Listener::Grpc, unreachable(&gate.grpc));
    }
    let result = probe::export_grpc(&gate.grpc, None, Signal::Traces, ONE_ITEM).await;
    Case::new(NO_TLS, Listener::Grpc, Outcome::NoConnection, &result)
}

async fn rejected_connection(
    gate: &GateUnderTest<'_>,
    case: &str,
    credentials: &Result<Credentials, String>,
    listener: Listener,
    reachable: Reachable,
) -> Case {
    let address = gate.address(listener);
    match credentials {
        Err(reason) => Case::skipped(case, listener, reason),
        Ok(_) if !reachable.is(listener) => Case::skipped(case, listener, unreachable(address)),
        Ok(credentials) => {
            let result = probe::handshake(address, credentials, listener.alpn()).await;
            Case::new(case, listener, Outcome::NoConnection, &result)
        }
    }
}

/// A revoked certificate. Where a CA has no revocation list, Envoy gets no list of any CA, and the filter rejects the
/// request instead.
async fn revoked(
    gate: &GateUnderTest<'_>,
    credentials: &Result<Credentials, String>,
    listener: Listener,
    reachable: Reachable,
) -> Case {
    let has_lists = gate.loaded.config.client_cas.iter().all(ClientCa::has_list);
    let Some(credentials) = credentials.as_ref().ok().filter(|_| !has_lists) else {
        return rejected_connection(gate, REVOKED, credentials, listener, reachable).await;
    };
    let (expected, result) = match listener {
        Listener::Grpc => (
            Outcome::UNAUTHENTICATED,
            probe::export_grpc(&gate.grpc, Some(credentials), Signal::Traces, ONE_ITEM).await,
        ),
        Listener::Http => (
            Outcome::HttpRejected(StatusCode::UNAUTHORIZED),
            probe::export_http(&gate.http, credentials, Signal::Traces, ONE_ITEM).await,
        ),
    };
    Case::new(REVOKED, listener, expected, &result)
}

/// A certificate of the client CA that matches no rule: the connection is accepted, the request is not.
async fn rejected_request(gate: &GateUnderTest<'_>, listener: Listener) -> Case {
    let credentials = match &gate.credentials.unknown {
        Ok(credentials) => credentials,
        Err(reason) => return Case::skipped(NO_RULE, listener, reason),
    };
    let (expected, result) = match listener {
        Listener::Grpc => (
            Outcome::PERMISSION_DENIED,
            probe::export_grpc(&gate.grpc, Some(credentials), Signal::Traces, ONE_ITEM).await,
        ),
        Listener::Http => (
            Outcome::HttpRejected(StatusCode::FORBIDDEN),
            probe::export_http(&gate.http, credentials, Signal::Traces, ONE_ITEM).await,
        ),
    };
    Case::new(NO_RULE, listener, expected, &result)
}
