//! Cases around the gate: a client without the gateway's certificate that reaches the Collector is refused.
//!
//! The API server connects, with TLS and without a certificate, by the proxy of the Collector's pod. This needs the right
//! `get pods/proxy`, which `status` needs as well, and no pod, no image and no exception in a NetworkPolicy.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use tokio::time::{sleep, timeout};

use super::case::{Case, CaseResult, Listener};
use super::gate::{Backend, GateUnderTest};
use crate::cluster::{Cluster, is_running, selecting};
use crate::config::{self, TlsMode};

const CASE: &str = "around the gate to the Collector: connection refused";
const EXPECTED: &str = "no connection without the gateway's certificate";
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is tried at most, and how long after the last attempt: a Collector that has just started may not listen
/// yet.
const ATTEMPTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Refused(&'static str),
    Accepted(String),
    /// It says nothing about the Collector.
    Failed(String),
}

/// Tries both ports of the Collector.
pub(super) async fn check(gate: &GateUnderTest<'_>) -> Vec<Case> {
    let listeners = [Listener::Grpc, Listener::Http];
    let skip = |reason: &str| listeners.map(|it| Case::skipped(CASE, it, reason)).into();
    let Backend::Collector { cluster, namespace, labels } = &gate.backend else {
        let Backend::Unreadable(reason) = &gate.backend else { return Vec::new() };
        return skip(reason);
    };
    if let config::Backend::Collector(collector) = &gate.loaded.config.backend
        && collector.tls == TlsMode::Off
    {
        return skip("`backend.collector.tls` is `off`: at most a NetworkPolicy refuses other clients");
    }
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let pod = match pods.list(&selecting(labels)).await {
        Ok(pods) => pods.items.iter().find(|it| is_running(it)).map(|it| it.name_any()),
        Err(error) => return skip(&error.to_string()),
    };
    let Some(pod) = pod else { return skip("no pod of the Collector is running") };
    let (grpc, http) =
        tokio::join!(connect(cluster, namespace, &pod, 4317), connect(cluster, namespace, &pod, 4318));
    [(Listener::Grpc, grpc), (Listener::Http, http)].map(|(listener, attempt)| case(listener, attempt)).into()
}

fn case(listener: Listener, attempt: Attempt) -> Case {
    let (result, seen) = match attempt {
        Attempt::Failed(reason) => return Case::skipped(CASE, listener, reason),
        Attempt::Refused(seen) => (CaseResult::Pass, seen.to_owned()),
        Attempt::Accepted(seen) => (CaseResult::Fail, seen),
    };
    Case { case: CASE.to_owned(), listener, result, expected: EXPECTED.to_owned(), seen }
}

/// Tries until the result says something of the Collector. With TLS 1.3 the alert comes after the client's handshake, so
/// the API server may see the end of the connection first, and report that in one of many ways.
async fn connect(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Attempt {
    let mut last = Attempt::Failed(format!("no response within {} s", TIMEOUT.as_secs()));
    let attempts = async {
        for number in 0..ATTEMPTS {
            if number > 0 {
                sleep(PAUSE).await;
            }
            last = try_once(cluster, namespace, pod, port).await;
            if !matches!(last, Attempt::Failed(_)) {
                break;
            }
        }
    };
    // The last result stands if the time is over.
    let _ = timeout(TIMEOUT, attempts).await;
    last
}

async fn try_once(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Attempt {
    let path = format!("/api/v1/namespaces/{namespace}/pods/https:{pod}:{port}/proxy/v1/traces");
    let request = match http::Request::get(path).body(Vec::new()) {
        Ok(request) => request,
        Err(error) => return Attempt::Failed(error.to_string()),
    };
    match cluster.pods.request_text(request).await {
        Ok(_) => Attempt::Accepted("a request without a certificate was answered".to_owned()),
        Err(kube::Error::Api(status)) => attempt(status.code, &status.message),
        Err(error) => Attempt::Failed(error.to_string()),
    }
}

/// Reads the API server's answer: the Collector's own if it answered, else an error of the connection in Go's words.
fn attempt(code: u16, message: &str) -> Attempt {
    let has = |words: &[&str]| words.iter().any(|it| message.contains(it));
    // A server that requires a certificate says so with an alert (RFC 8446 section 6), before TLS 1.3 with another one.
    if has(&["tls: certificate required", "tls: bad certificate", "tls: handshake failure"]) {
        return Attempt::Refused("a certificate is required");
    }
    // A server that accepts a connection begins it with its settings (RFC 9113 section 3.4).
    if has(&["http2: client conn could not be established"]) {
        return Attempt::Refused("the connection was closed before the server sent anything");
    }
    if has(&["server gave HTTP response to HTTPS client", "does not look like a TLS handshake"]) {
        return Attempt::Accepted("the Collector does not use TLS".to_owned());
    }
    match code {
        // OTLP has no GET.
        404 | 405 | 415 => Attempt::Accepted("a request without a certificate was answered".to_owned()),
        _ => Attempt::Failed(format!("the API server cannot connect to it: {code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_for_the_missing_certificate_is_a_pass() {
        let reach = |what: &str| format!("error trying to reach service: {what}");
        for (code, message, result) in [
            (503, reach("remote error: tls: certificate required"), CaseResult::Pass),
            (503, reach("remote error: tls: bad certificate"), CaseResult::Pass),
            (503, reach("http2: client conn could not be established"), CaseResult::Pass),
            (503, reach("http: server gave HTTP response to HTTPS client"), CaseResult::Fail),
            (503, reach("tls: first record does not look like a TLS handshake"), CaseResult::Fail),
            (405, "405 method not allowed, supported: [POST]".to_owned(), CaseResult::Fail),
            (503, reach("dial tcp 10.244.1.7:4318: connect: connection refused"), CaseResult::Skipped),
            (504, reach("context deadline exceeded"), CaseResult::Skipped),
            (
                403,
                "pods \"a\" is forbidden: cannot get resource \"pods/proxy\"".to_owned(),
                CaseResult::Skipped,
            ),
        ] {
            let seen = case(Listener::Http, attempt(code, &message));
            assert_eq!(seen.result, result, "{seen:?}");
        }
    }
}
