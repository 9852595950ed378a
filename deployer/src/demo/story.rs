//! What happens in the demo.

use std::net::SocketAddr;

use otlp_gate_core::policy::Identification;
use tonic::Code;

use super::cast::Cast;
use super::outcome::{ClientOutcome, Outcome, Refusal, common};
use super::sink::{Attributes, Sink};
use crate::config::Source;
use crate::envoy::{Addresses, Admin};
use crate::error::Error;
use crate::probe::{self, Answer, Credentials, Fate, Message, Sender, Signal};

/// Spans in a request.
const BATCH: usize = 50;
const OVER_QUOTA: Fate = Fate::Refused { code: Code::ResourceExhausted, retry: true };
const DENIED: Fate = Fate::Refused { code: Code::PermissionDenied, retry: false };

/// The filter's counter of attributes that were removed.
const FORGED: &str = "otlp_gate_forged_attributes_total";

/// Lets everybody play their part. `step` is told what comes next.
pub(super) async fn play(
    addresses: Addresses,
    admin: &Admin,
    cast: &Cast,
    sink: &Sink,
    step: &impl Fn(&str),
) -> Result<Outcome, Error> {
    let stage = Stage { gate: addresses.grpc, cast, sink };

    step("acme sends more than its quota");
    let acme = [("service.name", "shop")];
    let (acme, over_quota) = stage.client("acme", &acme, 10).await?;
    step("globex says that it is acme");
    let globex = [("service.name", "shop"), ("tenant.id", "acme")];
    let (globex, _) = stage.client("globex", &globex, 4).await?;
    let forged =
        globex.written.keys().filter(|key| key.as_str() != "service.name").count() * globex.sent / BATCH;

    step("others try to get in");
    let mut refused = Vec::new();
    if let Some(answer) = over_quota {
        refused.push(Refusal::new("acme, over its quota", OVER_QUOTA, &answer));
    }
    let nobody = stage.stranger(Some(cast.credentials("nobody")?)).await;
    refused.push(Refusal::new("a certificate that is no client's", DENIED, &nobody));
    for (case, credentials) in [
        ("no certificate", cast.no_credentials()?),
        ("acme's name, from a foreign CA", cast.foreign_credentials()?),
    ] {
        let answer = probe::attempt(&addresses.grpc.to_string(), &credentials, b"h2").await;
        refused.push(Refusal::new(case, Fate::NoConnection, &answer));
    }
    refused.push(Refusal::new("no TLS at all", Fate::NoConnection, &stage.stranger(None).await));
    let removed = admin.sum(FORGED).await?;
    Ok(Outcome::new(vec![acme, globex], refused, forged as u64, removed))
}

struct Stage<'a> {
    gate: SocketAddr,
    cast: &'a Cast,
    sink: &'a Sink,
}

impl Stage<'_> {
    /// A client sends so many requests. Gives what became of them, and the first answer that was a refusal.
    async fn client(
        &self,
        name: &str,
        written: &[(&str, &str)],
        requests: usize,
    ) -> Result<(ClientOutcome, Option<Answer>), Error> {
        let certificate = self.cast.certificate(name)?;
        let identity = certificate.identity();
        let policy = Source::read_file(&self.cast.config())?.load()?.policy;
        let Identification::Client(client) = policy.identify(&identity) else {
            return Err(Error::failed(format_args!("the demo's config does not know {name}")));
        };
        let sender = Sender::connect(&self.gate.to_string(), Some(&self.cast.credentials(name)?)).await;
        let sender = sender
            .map_err(|answer| Error::failed(format_args!("{name} could not connect: {}", answer.words)))?;

        let seen_before = self.sink.arrived().len();
        let (mut accepted, mut rejected, mut refusal) = (0, 0, None);
        for _ in 0..requests {
            let answer = sender.send(Signal::Traces, Message { attributes: written, items: BATCH }).await;
            if answer.fate == Fate::Accepted {
                accepted += BATCH;
            } else {
                rejected += BATCH;
                refusal.get_or_insert(answer);
            }
        }
        // An answer is the backend's: what was accepted is here by now.
        let arrived = self.sink.arrived().split_off(seen_before);
        let items: usize = arrived.iter().map(|arrival| arrival.items).sum();
        let resources: Vec<Attributes> = arrived.into_iter().map(|arrival| arrival.attributes).collect();

        let written: Attributes = owned(written);
        let mut expected = written.clone();
        expected.retain(|key, _| !policy.owned().owns(key));
        expected.extend(client.attributes().map(|(key, value)| (key.to_owned(), value.to_owned())));
        let (stamped, attributes) = common(&resources, &expected);
        let outcome = ClientOutcome {
            name: client.name.clone(),
            identity: identity.spiffe.or(identity.dns).unwrap_or_default(),
            sent: requests * BATCH,
            accepted,
            rejected,
            attributes,
            written,
            ok: stamped && items == accepted,
        };
        Ok((outcome, refusal))
    }

    /// Somebody sends one span.
    async fn stranger(&self, credentials: Option<Credentials>) -> Answer {
        let message = Message { attributes: &[("service.name", "stranger")], items: 1 };
        probe::export(&self.gate.to_string(), credentials.as_ref(), Signal::Traces, message).await
    }
}

fn owned(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
