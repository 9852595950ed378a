//! Why a component of the gate is not ready, and what to do about it.
//!
//! A new reason is a variant of [`NotReady`] and its text. A reason that only other programs report, in their own
//! words, is a variant of [`Cause`], a line in [`Cause::of`], and its hint.

use std::fmt::{self, Display};

/// Why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// The object does not exist.
    NotFound,
    /// The provider has not created the Deployment of the gateway's proxies.
    NoProxyDeployment { provider: &'static str },
    /// The controller has not observed the last change of a Deployment, StatefulSet or DaemonSet.
    NotObserved,
    /// The rollout of a Deployment or StatefulSet is in progress.
    ReplicasUpdating { updated: i32, wanted: i32, available: i32 },
    /// A Deployment or StatefulSet has too few available replicas.
    ReplicasUnavailable { available: i32, wanted: i32 },
    /// A DaemonSet's rollout is in progress.
    NodesUpdating { updated: i32, wanted: i32, available: i32 },
    /// A DaemonSet has too few available pods.
    NodesUnavailable { available: i32, wanted: i32 },
    /// The status has no such condition.
    NoCondition { condition: &'static str },
    /// The condition is about an earlier generation of the object.
    OutdatedCondition { condition: &'static str },
    /// The condition is not `True`.
    ConditionNotTrue { condition: &'static str, status: String, reason: String, message: String },
    /// A listener of the Gateway is not ready.
    Listener { name: String, why: Box<NotReady> },
    /// The Gateway's status does not have all listeners.
    ListenersMissing { reported: usize, wanted: usize },
    /// The Gateway has no address.
    NoAddress,
    /// No Gateway has accepted the route.
    RouteNotAccepted,
    /// The controller has not accepted the policy.
    PolicyNotAccepted,
    /// The Secret has no certificate.
    NoCertificate { why: String },
    /// The server's certificate has expired.
    CertificateExpired { when: String },
    /// The CAs in a ConfigMap are not those in the policy.
    UnknownCas { config_map: String, ca: String, unknown: usize, removed: usize },
    /// No proxy of the gateway is running.
    NoProxyRunning,
    /// Not all proxies have the current policy and module.
    OutdatedPolicy { current: usize, running: usize, policy: String },
    /// Not all proxies reach the engine of shared quotas.
    EngineUnreachable { address: String, reached: u32, running: u32 },
}

impl Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::NotFound => f.write_str("not found"),
            NotReady::NoProxyDeployment { provider } => {
                write!(f, "{provider} has not created the gateway's Deployment")
            }
            NotReady::NotObserved => f.write_str("the controller has not observed the last change yet"),
            NotReady::ReplicasUpdating { updated, wanted, available } => {
                write!(f, "{updated} of {wanted} replicas updated, {available} available")
            }
            NotReady::ReplicasUnavailable { available, wanted } => {
                write!(f, "{available} of {wanted} replicas available")
            }
            NotReady::NodesUpdating { updated, wanted, available } => {
                write!(f, "updated on {updated} of {wanted} nodes, {available} available")
            }
            NotReady::NodesUnavailable { available, wanted } => {
                write!(f, "available on {available} of {wanted} nodes")
            }
            NotReady::NoCondition { condition } => write!(f, "{condition} is not reported yet"),
            NotReady::OutdatedCondition { condition } => {
                write!(f, "{condition} is not reported for the last change yet")
            }
            NotReady::ConditionNotTrue { condition, status, reason, message } => {
                write!(f, "{condition} is {status}: {reason}: {message}")
            }
            NotReady::Listener { name, why } => write!(f, "listener {name}: {why}"),
            NotReady::ListenersMissing { reported, wanted } => {
                write!(f, "{reported} of {wanted} listeners have a status")
            }
            NotReady::NoAddress => f.write_str("no address is assigned yet"),
            NotReady::RouteNotAccepted => f.write_str("no Gateway has accepted it yet"),
            NotReady::PolicyNotAccepted => f.write_str("its controller has not accepted it yet"),
            NotReady::NoCertificate { why } => write!(f, "no certificate: {why}"),
            NotReady::CertificateExpired { when } => write!(f, "expired on {when}"),
            NotReady::UnknownCas { config_map, ca, unknown, removed } => write!(
                f,
                "the policy lacks {unknown} of the CAs in configmap/{config_map}, and has {removed} that are no longer \
                 there: rules with `ca: {ca}` do not match clients of a CA that it lacks; run `otlp-gate apply`"
            ),
            NotReady::NoProxyRunning => f.write_str("no proxy is running"),
            NotReady::OutdatedPolicy { current, running, policy } => {
                write!(f, "{current} of {running} proxies have policy {policy}")
            }
            NotReady::EngineUnreachable { address, reached, running } => write!(
                f,
                "{address} reached by {reached} of {running} proxies; each of the others has quotas of its own"
            ),
        }
    }
}

impl NotReady {
    /// The cause, if it is one that has a hint.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            NotReady::NoAddress => Some(Cause::NoAddress),
            NotReady::ConditionNotTrue { reason, message, .. } => {
                // The smallest is the most specific one.
                Cause::of(reason).into_iter().chain(Cause::of(message)).min()
            }
            NotReady::Listener { why, .. } => why.cause(),
            _ => None,
        }
    }
}

/// A cause that controllers and proxies report in their own words. The order is the precedence of the hints: a missing
/// address may be the consequence of any other cause, so it is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The Gateway's server Secret is missing or invalid (Gateway API).
    ServerSecret,
    /// Envoy Gateway rejects the module's address for an hour (its internal/wasm/httpserver.go). It counts failures by
    /// address, a wrong digest is one, and rejects the address after too many, whatever it serves by then.
    ModuleAddressRejected,
    /// Envoy Gateway cannot download the module (its internal/wasm/httpfetcher.go). It gives up after five attempts.
    ModuleDownloadFailed,
    /// Istio's agent cannot fetch the module (Istio's pkg/wasm). It tries again only when its configuration changes,
    /// and the proxy rejects all requests until then.
    ModuleFetchFailed,
    /// The gateway's Service has no address.
    NoAddress,
}

impl Cause {
    /// The cause that a controller's or proxy's message reports.
    pub(super) fn of(message: &str) -> Option<Self> {
        let reports = [
            ("InvalidCertificateRef", Cause::ServerSecret),
            ("failed to get Wasm module", Cause::ModuleAddressRejected),
            ("wasm module download failed", Cause::ModuleDownloadFailed),
            ("cannot fetch Wasm module", Cause::ModuleFetchFailed),
            ("AddressNotAssigned", Cause::NoAddress),
            ("AddressNotUsable", Cause::NoAddress),
            ("no address", Cause::NoAddress),
        ];
        reports.into_iter().find(|(report, _)| message.contains(report)).map(|(_, cause)| cause)
    }

    /// What to do about it.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Cause::ServerSecret => {
                "the server's Secret is missing or has other keys: run `otlp-gate certs init`, then `otlp-gate apply`"
            }
            Cause::ModuleAddressRejected => {
                "Envoy Gateway rejects the module's address for an hour after too many failures or a wrong digest: correct \
                 `gateway.module`, then run `kubectl rollout restart deployment/envoy-gateway -n envoy-gateway-system`"
            }
            Cause::ModuleDownloadFailed => {
                "Envoy Gateway must reach the URL in `gateway.module` and does not retry: make it reachable, then run \
                 `kubectl rollout restart deployment/envoy-gateway -n envoy-gateway-system`"
            }
            Cause::ModuleFetchFailed => {
                "the gateway's pods must reach the URL in `gateway.module`, and the module must have the digest there. They do \
                 not retry: `kubectl rollout restart` their Deployment afterwards"
            }
            Cause::NoAddress => {
                "the gateway's Service has no address: it needs a load balancer, or with Istio \
                 `gateway.annotations: {networking.istio.io/service-type: ClusterIP}`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_the_cause_that_its_reason_or_message_reports() {
        let condition = |reason: &str, message: &str| {
            let (status, reason, message) = ("False".to_owned(), reason.to_owned(), message.to_owned());
            NotReady::ConditionNotTrue { condition: "Programmed", status, reason, message }.cause()
        };
        assert_eq!(condition("Invalid", "of this"), None);
        assert_eq!(condition("AddressNotAssigned", "of this"), Some(Cause::NoAddress));
        let message = "no address; failed to get Wasm module";
        assert_eq!(condition("AddressNotAssigned", message), Some(Cause::ModuleAddressRejected));
    }
}
