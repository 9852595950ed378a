//! Trying a gate from outside, as clients do: everybody who must not get in, and one who must, and what arrives of it.

mod canary;
mod case;
mod credentials;

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use otlp_gate_core::policy::{self, Client, VERIFY_ATTRIBUTE};
use otlp_gate_core::quota::Dimension;
use otlp_gate_wire::otlp::Signal;
use tokio::time::sleep;

pub use case::{Case, Listener, Verdict};
pub use credentials::{Kept, Shown};

use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::error::Error;
use crate::probe::{self, Credentials, GrpcClient, Outcome, ProbeResult, Telemetry};
use crate::random::random;
use canary::Attributes;

/// The attribute by which what a run sent is found again.
const RUN: &str = "otlp_gate.run";
/// What says whose data it is.
const SERVICE: (&str, &str) = ("service.name", "otlp-gate-verify");
/// What those send who are not let in.
const ONE: Telemetry<'_> = Telemetry { attributes: &[SERVICE], items: 1 };
/// What a client forges.
const FORGED: &str = "forged";
/// A run before this one may have left the quota empty: it is full again after five seconds.
const ATTEMPTS: usize = 30;
const PAUSE: Duration = Duration::from_millis(200);

/// Where the gate is, and what is known of it.
#[derive(Debug)]
pub struct Target<'a> {
    /// `host:port` of OTLP/gRPC.
    pub grpc: String,
    /// `host:port` of OTLP/HTTP.
    pub http: String,
    /// Its config.
    pub loaded: &'a Loaded,
    /// What is shown to it.
    pub shown: Shown,
    /// Where to see what arrived.
    pub backend: Backend,
}

/// Where to see what arrived.
#[derive(Debug)]
pub enum Backend {
    /// In the Collector that otlp-gate deploys.
    Collector {
        /// The cluster that it is in.
        cluster: Cluster,
        /// Its namespace.
        namespace: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
    },
    /// Nowhere, for this reason.
    Unseen(String),
}

/// Tries everything. `step` is told what is tried.
pub async fn verify(target: &Target<'_>, step: &impl Fn(&str)) -> Result<Vec<Case>, Error> {
    let run = Run { target, id: format!("{:016x}", u64::from_be_bytes(random()?)) };
    step("a good client sends");
    let (mut cases, open) = run.good().await;
    step("others try to get in");
    let (grpc, http, plain) = tokio::join!(
        run.strangers(Listener::Grpc, open),
        run.strangers(Listener::Http, open),
        run.plain(open)
    );
    cases.push(plain);
    cases.extend(grpc);
    cases.extend(http);
    step("one sends too much");
    cases.extend(run.over_quota(open).await);
    step("reading what arrived");
    cases.extend(run.arrived(&cases).await?);
    Ok(cases)
}

/// One run.
struct Run<'a> {
    target: &'a Target<'a>,
    /// What marks its data.
    id: String,
}

/// Whether anybody gets a connection at all: where nobody does, that somebody does not is no proof.
#[derive(Debug, Clone, Copy)]
struct Open {
    grpc: bool,
    http: bool,
}

impl Open {
    fn has(self, listener: Listener) -> bool {
        match listener {
            Listener::Grpc => self.grpc,
            Listener::Http => self.http,
        }
    }
}

/// What the good client sends, by the name under which it is found again.
const GOOD: [(&str, Signal, Listener); 5] = [
    ("traces", Signal::Traces, Listener::Grpc),
    ("metrics", Signal::Metrics, Listener::Grpc),
    ("logs", Signal::Logs, Listener::Grpc),
    ("forged attributes", Signal::Traces, Listener::Grpc),
    ("traces", Signal::Traces, Listener::Http),
];

impl Run<'_> {
    /// The good client sends every signal.
    async fn good(&self) -> (Vec<Case>, Open) {
        let mut cases = Vec::new();
        let credentials = match &self.target.shown.client {
            Ok(credentials) => credentials,
            Err(reason) => {
                let skipped =
                    |(name, _, on): &(&str, Signal, Listener)| Case::skipped(good(name), *on, reason);
                return (GOOD.iter().map(skipped).collect(), self.open().await);
            }
        };
        let mut open = Open { grpc: false, http: false };
        let sender = GrpcClient::connect(&self.target.grpc, Some(credentials)).await;
        for (name, signal, listener) in GOOD {
            let marker = self.marker(name, listener);
            let mut attributes = vec![SERVICE, (RUN, marker.as_str())];
            if name.starts_with(FORGED) {
                attributes.extend(self.owned().filter(|key| *key != RUN).map(|key| (key, FORGED)));
            }
            let message = Telemetry { attributes: &attributes, items: 1 };
            let answer = patiently(async || match (listener, &sender) {
                (Listener::Grpc, Err(answer)) => answer.clone(),
                (Listener::Grpc, Ok(sender)) => sender.export(signal, message).await,
                (Listener::Http, _) => {
                    probe::export_http(&self.target.http, credentials, signal, message).await
                }
            })
            .await;
            let connected = answer.outcome != Outcome::NoConnection;
            match listener {
                Listener::Grpc => open.grpc |= connected,
                Listener::Http => open.http |= connected,
            }
            cases.push(Case::of(good(name), listener, Outcome::Accepted, &answer));
        }
        (cases, open)
    }

    /// What is open to clients, as far as somebody without a certificate can tell.
    async fn open(&self) -> Open {
        let there = async |listener: Listener| match &self.target.shown.nothing {
            Ok(nothing) => probe::server_answers(self.address(listener), nothing, listener.protocol()).await,
            Err(_) => false,
        };
        let (grpc, http) = tokio::join!(there(Listener::Grpc), there(Listener::Http));
        Open { grpc, http }
    }

    /// Those who must not get in.
    async fn strangers(&self, listener: Listener, open: Open) -> Vec<Case> {
        let shown = &self.target.shown;
        let (none, foreign, expired, revoked, stranger) = tokio::join!(
            self.shut_out("no certificate", &shown.nothing, listener, open),
            self.shut_out("certificate of another CA", &shown.foreign, listener, open),
            self.shut_out("expired certificate", &shown.expired, listener, open),
            self.shut_out("revoked certificate", &shown.revoked, listener, open),
            self.stranger(listener),
        );
        vec![none, foreign, expired, revoked, stranger]
    }

    async fn shut_out(
        &self,
        case: &str,
        credentials: &Result<Credentials, String>,
        listener: Listener,
        open: Open,
    ) -> Case {
        let address = self.address(listener);
        match credentials {
            Err(reason) => Case::skipped(case, listener, reason),
            Ok(_) if !open.has(listener) => Case::skipped(case, listener, closed(address)),
            Ok(credentials) => {
                let answer = probe::handshake(address, credentials, listener.protocol()).await;
                Case::of(case, listener, Outcome::NoConnection, &answer)
            }
        }
    }

    /// A certificate that is valid, and no client's.
    async fn stranger(&self, listener: Listener) -> Case {
        let case = "certificate of no client";
        let credentials = match &self.target.shown.stranger {
            Ok(credentials) => credentials,
            Err(reason) => return Case::skipped(case, listener, reason),
        };
        match listener {
            Listener::Grpc => {
                let answer =
                    probe::export_grpc(&self.target.grpc, Some(credentials), Signal::Traces, ONE).await;
                Case::of(case, listener, Outcome::PERMISSION_DENIED, &answer)
            }
            Listener::Http => {
                let answer = probe::export_http(&self.target.http, credentials, Signal::Traces, ONE).await;
                Case::of(case, listener, Outcome::HttpRejected(StatusCode::FORBIDDEN), &answer)
            }
        }
    }

    /// Somebody who does not speak TLS.
    async fn plain(&self, open: Open) -> Case {
        let (case, to) = ("no TLS", &self.target.grpc);
        if !open.grpc {
            return Case::skipped(case, Listener::Grpc, closed(to));
        }
        let answer = probe::export_grpc(to, None, Signal::Traces, ONE).await;
        Case::of(case, Listener::Grpc, Outcome::NoConnection, &answer)
    }

    /// The good client sends more than its quota, which is tiny.
    async fn over_quota(&self, open: Open) -> Vec<Case> {
        let names = ["over quota", "larger than the quota"];
        let skip = |reason: &str| names.map(|it| Case::skipped(it, Listener::Grpc, reason)).into();
        let credentials = match &self.target.shown.client {
            Ok(credentials) => credentials,
            Err(reason) => return skip(reason),
        };
        if self.target.loaded.policy.shadow() {
            return skip("quotas.mode is shadow, which refuses nothing");
        }
        let client = self.client();
        let Some(limit) = client.as_ref().and_then(|it| it.tier.limit(Dimension::Items)) else {
            return skip("the configuration does not know the certificate");
        };
        let sender = match GrpcClient::connect(&self.target.grpc, Some(credentials)).await {
            Ok(sender) if open.grpc => sender,
            _ => return skip(&closed(&self.target.grpc)),
        };
        let marker = self.marker("over quota", Listener::Grpc);
        let attributes = [SERVICE, (RUN, marker.as_str())];
        let all = usize::try_from(limit.capacity).unwrap_or(usize::MAX);
        let send = |items| sender.export(Signal::Traces, Telemetry { attributes: &attributes, items });
        let too_large = send(all + 1).await;
        let mut over = send(all).await;
        for _ in 0..ATTEMPTS {
            if over.outcome != Outcome::Accepted {
                break;
            }
            over = send(all).await;
        }
        vec![
            Case::of(names[0], Listener::Grpc, Outcome::THROTTLED, &over),
            Case::of(names[1], Listener::Grpc, Outcome::TOO_LARGE, &too_large),
        ]
    }

    /// Whether what was accepted came to the backend as the policy says.
    async fn arrived(&self, sent: &[Case]) -> Result<Vec<Case>, Error> {
        let sent = GOOD.iter().filter(|(name, _, listener)| {
            sent.iter()
                .any(|it| it.case == good(name) && it.listener == *listener && it.result == Verdict::Pass)
        });
        let markers: Vec<(String, &str, Listener)> =
            sent.map(|(name, _, listener)| (self.marker(name, *listener), *name, *listener)).collect();
        let seen = match &self.target.backend {
            Backend::Unseen(reason) => Err(reason.clone()),
            Backend::Collector { cluster, namespace, labels } => {
                let values: Vec<&str> = markers.iter().map(|(marker, ..)| marker.as_str()).collect();
                Ok(canary::arrived(cluster, namespace, labels, RUN, &values).await?)
            }
        };
        let case = |(marker, name, listener): &(String, &str, Listener)| {
            let title = format!("{name} in the backend");
            let expected = self.stamped(marker);
            match &seen {
                Err(reason) => Case::skipped(title, *listener, reason),
                Ok(arrived) => {
                    let mine: Vec<&Attributes> =
                        arrived.iter().filter(|it| it.get(RUN) == Some(marker)).collect();
                    let result = if mine == [&expected] { Verdict::Pass } else { Verdict::Fail };
                    Case {
                        case: title,
                        listener: *listener,
                        result,
                        expected: text(&expected),
                        seen: match mine.as_slice() {
                            [] => "it did not arrive".to_owned(),
                            all => all.iter().map(|it| text(it)).collect::<Vec<_>>().join("; "),
                        },
                    }
                }
            }
        };
        Ok(markers.iter().map(case).collect())
    }

    fn address(&self, listener: Listener) -> &str {
        match listener {
            Listener::Grpc => &self.target.grpc,
            Listener::Http => &self.target.http,
        }
    }

    fn marker(&self, name: &str, listener: Listener) -> String {
        format!("{}/{}/{}", self.id, listener.name(), name.replace(' ', "-"))
    }

    fn owned(&self) -> impl Iterator<Item = &str> {
        self.target.loaded.policy.owned_attributes().iter().map(String::as_str)
    }

    fn client(&self) -> Option<Client> {
        match self.target.loaded.policy.identify(self.target.shown.identity.as_ref()?) {
            policy::Identification::Client(client) => Some(client),
            _ => None,
        }
    }

    /// What should be in the backend.
    fn stamped(&self, marker: &str) -> Attributes {
        let written = [SERVICE, (RUN, marker)];
        let written = written.into_iter().filter(|(key, _)| !self.target.loaded.policy.owned().owns(key));
        let mut stamped: Attributes =
            written.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let client = self.client();
        let own = client.iter().flat_map(Client::attributes);
        stamped.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        stamped
    }
}

/// Tries again while the quota is empty.
async fn patiently(mut send: impl AsyncFnMut() -> ProbeResult) -> ProbeResult {
    const BUSY: [Outcome; 2] = [Outcome::THROTTLED, Outcome::HttpRejected(StatusCode::TOO_MANY_REQUESTS)];
    let mut answer = send().await;
    for _ in 1..ATTEMPTS {
        if !BUSY.contains(&answer.outcome) {
            break;
        }
        sleep(PAUSE).await;
        answer = send().await;
    }
    answer
}

fn good(name: &str) -> String {
    format!("good client, {name}")
}

fn closed(address: &str) -> String {
    format!("nobody gets a connection to {address}, so that this one gets none proves nothing")
}

/// Without what is the same in all of them.
fn text(attributes: &Attributes) -> String {
    let told =
        attributes.iter().filter(|(key, _)| ![RUN, VERIFY_ATTRIBUTE, SERVICE.0].contains(&key.as_str()));
    let told: Vec<String> = told.map(|(key, value)| format!("{key}={value}")).collect();
    if told.is_empty() { "nothing but what marks it".to_owned() } else { told.join(", ") }
}
