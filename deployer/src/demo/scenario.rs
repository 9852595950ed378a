//! The demo's scenario: what the test clients send, in which order.

use std::net::SocketAddr;

use otlp_gate_core::policy::Identification;
use otlp_gate_wire::otlp::Signal;

use super::result::{ClientResult, DemoResult, RejectedCase, compare};
use super::sink::{Attributes, Sink};
use super::workspace::Workspace;
use crate::certs::{ClientTrust, Folder};
use crate::config::Source;
use crate::envoy::{Addresses, Admin};
use crate::error::Error;
use crate::probe::{self, Credentials, GrpcClient, Outcome, ProbeResult, Telemetry};

/// Spans per request.
const BATCH: usize = 50;

/// The filter's counter of forged attributes that it removed.
const FORGED_ATTRIBUTES: &str = "otlp_gate_forged_attributes_total";

/// Runs the scenario. `progress` receives the name of each step.
pub(super) async fn run(
    addresses: Addresses,
    admin: &Admin,
    workspace: &Workspace,
    sink: &Sink,
    progress: &impl Fn(&str),
) -> Result<DemoResult, Error> {
    let scenario = Scenario { gate: addresses.grpc, workspace, sink };

    progress("acme sends more than its quota");
    let acme = [("service.name", "shop")];
    let (acme, throttled) = scenario.client("acme", &acme, 10).await?;
    progress("globex forges the tenant.id of acme");
    let globex = [("service.name", "shop"), ("tenant.id", "acme")];
    let (globex, _) = scenario.client("globex", &globex, 4).await?;
    let forged = globex.sent_attributes.keys().filter(|key| key.as_str() != "service.name").count()
        * globex.sent
        / BATCH;

    progress("invalid clients connect");
    let mut rejected = Vec::new();
    if let Some(result) = throttled {
        rejected.push(RejectedCase::new("acme over its quota", Outcome::THROTTLED, &result));
    }
    let unknown = scenario.one_span(Some(workspace.credentials("unknown")?)).await;
    rejected.push(RejectedCase::new("certificate matches no rule", Outcome::PERMISSION_DENIED, &unknown));
    for (case, credentials) in [
        ("no client certificate", workspace.no_credentials()?),
        ("acme's name in a certificate of an untrusted CA", workspace.untrusted_credentials()?),
    ] {
        let result = probe::handshake(&addresses.grpc.to_string(), &credentials, b"h2").await;
        rejected.push(RejectedCase::new(case, Outcome::NoConnection, &result));
    }
    rejected.push(RejectedCase::new("no TLS", Outcome::NoConnection, &scenario.one_span(None).await));
    let removed = admin.sum(FORGED_ATTRIBUTES).await?;
    Ok(DemoResult::new(vec![acme, globex], rejected, forged as u64, removed))
}

struct Scenario<'a> {
    gate: SocketAddr,
    workspace: &'a Workspace,
    sink: &'a Sink,
}

impl Scenario<'_> {
    /// Sends `requests` requests as a valid client. Returns what happened to them, and the first answer that was not a
    /// success.
    async fn client(
        &self,
        name: &str,
        attributes: &[(&str, &str)],
        requests: usize,
    ) -> Result<(ClientResult, Option<ProbeResult>), Error> {
        let certificate = self.workspace.certificate(name)?;
        let mut identity = certificate.identity().clone();
        let mut loaded = Source::read_file(&self.workspace.config())?.load()?;
        ClientTrust::complete(&mut loaded, &Folder::at(self.workspace.certs_path()))?;
        loaded.examine(&mut identity);
        let policy = loaded.policy;
        let Identification::Client(client) = policy.identify(&identity) else {
            return Err(Error::failed(format_args!(
                "certificate {name} matches no rule of the demo's policy"
            )));
        };
        let (address, credentials) = (self.gate.to_string(), self.workspace.credentials(name)?);
        let grpc = GrpcClient::connect(&address, Some(&credentials)).await;
        let grpc = grpc.map_err(|result| {
            Error::failed(format_args!("client {name} cannot connect: {}", result.message))
        })?;

        let received_before = self.sink.received().len();
        let (mut accepted, mut rejected, mut rejection) = (0, 0, None);
        for _ in 0..requests {
            let result = grpc.export(Signal::Traces, Telemetry { attributes, items: BATCH }).await;
            if result.outcome == Outcome::Accepted {
                accepted += BATCH;
            } else {
                rejected += BATCH;
                rejection.get_or_insert(result);
            }
        }
        // A success is the backend's own response, so the sink has recorded every accepted request by now.
        let received = self.sink.received().split_off(received_before);
        let received_items: usize = received.iter().map(|it| it.items).sum();
        let received: Vec<Attributes> = received.into_iter().map(|it| it.attributes).collect();

        let sent_attributes: Attributes =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut expected = sent_attributes.clone();
        expected.retain(|key, _| !policy.owned().owns(key));
        expected.extend(client.attributes().map(|(key, value)| (key.to_owned(), value.to_owned())));
        let (as_expected, attributes) = compare(&received, &expected);
        let result = ClientResult {
            name: client.name.clone(),
            identity: identity.uri().or(identity.dns_name()).unwrap_or_default().to_owned(),
            sent: requests * BATCH,
            accepted,
            rejected,
            attributes,
            sent_attributes,
            ok: as_expected && received_items == accepted,
        };
        Ok((result, rejection))
    }

    /// Sends one span on a new connection; `None` for one without TLS.
    async fn one_span(&self, credentials: Option<Credentials>) -> ProbeResult {
        let telemetry = Telemetry { attributes: &[("service.name", "unknown")], items: 1 };
        probe::export_grpc(&self.gate.to_string(), credentials.as_ref(), Signal::Traces, telemetry).await
    }
}
