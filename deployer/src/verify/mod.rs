//! Verification of a gate from outside: invalid clients must be rejected, a valid client must be accepted, and the
//! backend must receive the attributes that the policy sets.

mod address;
mod around;
mod arrival;
mod canary;
mod case;
mod credentials;
mod gate;
mod invalid_clients;
mod replicas;
mod valid_client;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::address::Address;
use crate::certs::{Folder, TestClient};
use crate::cluster::Cluster;
use crate::config::{self, Loaded, ServerCa};
use crate::error::Error;
use crate::model::Names;
use crate::probe::Credentials;
pub(crate) use address::GateAddress;
pub(crate) use case::{Case, CaseResult, Listener};
use credentials::TestCredentials;
use gate::{Backend, GateUnderTest};

/// How long to wait for a listener. A Service of a new gateway refuses connections until the nodes have its endpoints.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a verification.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    /// Address of the gate; `None` to use the configuration's hostname, or the Gateway's address in the cluster where
    /// the hostname does not resolve.
    pub(crate) address: Option<&'a GateAddress>,
    /// Address of OTLP/HTTP; `None` for the same host and the configuration's port.
    pub(crate) http: Option<&'a Address>,
    /// The folder with the certificates that `otlp-gate certs init` created.
    pub(crate) certs: &'a Path,
    /// The CA certificates of the server's certificate; `None` for those that the configuration says clients have.
    pub(crate) ca: Option<&'a Path>,
    /// Whether to read in the cluster what the backend received.
    pub(crate) use_cluster: bool,
}

/// Result of a verification, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Verification {
    /// Whether no case failed.
    pub(crate) ok: bool,
    /// `host:port` of OTLP/gRPC.
    pub(crate) grpc: String,
    /// `host:port` of OTLP/HTTP.
    pub(crate) http: String,
    /// Duration in seconds, to a tenth.
    pub(crate) seconds: f64,
    /// What was tried.
    pub(crate) cases: Vec<Case>,
}

/// Runs every case. `cluster` is awaited only where a cluster is needed. `progress` receives the name of each step.
///
/// # Errors The gate has no gateway, its address or its certificates are missing, or the cluster cannot be read. A
/// failed case is not an error.
pub(crate) async fn run(
    options: &Options<'_>,
    loaded: &Loaded,
    cluster: impl Future<Output = Result<Cluster, Error>>,
    progress: &impl Fn(&str),
) -> Result<Verification, Error> {
    let gateway = &loaded.config.gateway;
    if !gateway.enabled {
        return Err(Error::failed("there is no gateway to verify: `gateway.enabled` is false")
            .hint("`otlp-gate status` shows the state of the node-local gateways"));
    }
    let server_name = gateway.hostname.replacen('*', "otlp", 1);
    let names = Names::of(gateway);
    let (config, folder) = (&loaded.config, Folder::at(options.certs));
    // The CronJob of `monitoring.verify` has what cert-manager issued in a folder.
    let mounted = !options.use_cluster && folder.test_client_files(TestClient::Valid).certificate.exists();
    let issued = config.issues_client_certificates() && !mounted;
    // The test clients' certificates, or the server's CA, are in the cluster.
    let reads_secrets = issued
        || (config.certificates.cert_manager.is_some()
            && config.certificates.server_ca == ServerCa::Private
            && options.ca.is_none());
    let cluster = match options.use_cluster || issued {
        true if reads_secrets => Ok(cluster.await?),
        true => cluster.await.map_err(|e| e.to_string()),
        false => Err("--no-cluster".to_owned()),
    };
    let server_ca = credentials::server_ca(options.ca, config, &folder, cluster.as_ref().ok()).await?;
    let no_certificate =
        Credentials { server_ca, server_name: server_name.clone(), client_certificate: None };
    let credentials = match &cluster {
        Ok(cluster) if issued => {
            TestCredentials::from_secret(cluster, &names, no_certificate, loaded).await?
        }
        _ => TestCredentials::from_folder(&folder, no_certificate, loaded),
    };
    let address = match options.address {
        Some(address) => address.clone(),
        None => address::locate(&server_name, cluster.as_ref().ok(), &names).await?,
    };
    let gate = GateUnderTest {
        grpc: address.with_port(gateway.listeners.grpc),
        http: options
            .http
            .map_or_else(|| address.with_other_port(gateway.listeners.http), ToString::to_string),
        loaded,
        credentials,
        cluster: cluster.clone(),
        backend: backend(loaded, cluster, names),
    };
    let started = Instant::now();
    progress("waiting for the listeners");
    tokio::join!(wait_for_listener(&gate.grpc), wait_for_listener(&gate.http));
    let cases = run_cases(&gate, progress).await?;
    let ok = !cases.iter().any(|it| it.result == CaseResult::Fail);
    let seconds = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let GateUnderTest { grpc, http, .. } = gate;
    Ok(Verification { ok, grpc, http, seconds, cases })
}

impl Verification {
    /// Whether the gate accepted the revoked certificate.
    pub(crate) fn accepted_revoked(&self) -> bool {
        self.cases.iter().any(|it| it.case == invalid_clients::REVOKED && it.result == CaseResult::Fail)
    }

    /// Whether the gateway could not connect to its backend, by the messages of Envoy's own answers.
    pub(crate) fn backend_is_unreachable(&self) -> bool {
        let failed = self.cases.iter().filter(|it| it.result == CaseResult::Fail);
        let seen = |message: &str| failed.clone().any(|it| it.seen.contains(message));
        seen("upstream connect error") || seen("no healthy upstream")
    }
}

fn backend(loaded: &Loaded, cluster: Result<Cluster, String>, names: Names) -> Backend {
    match (&loaded.config.backend, cluster) {
        (config::Backend::Service(service), _) => Backend::Unreadable(format!(
            "the backend is the Service {}; only a Collector that otlp-gate deploys can be read",
            service.name
        )),
        (config::Backend::Collector(_), Err(reason)) => Backend::Unreadable(reason),
        (config::Backend::Collector(_), Ok(cluster)) => Backend::Collector {
            cluster: Box::new(cluster),
            labels: names.collector_selector(),
            namespace: names.namespace,
        },
    }
}

/// Waits until connections are no longer refused. If they still are when the time is over, the cases report it.
async fn wait_for_listener(address: &str) {
    let refused = |e: std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    let listening = async {
        while TcpStream::connect(address).await.is_err_and(refused) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(LISTENER_TIMEOUT, listening).await;
}

async fn run_cases(gate: &GateUnderTest<'_>, progress: &impl Fn(&str)) -> Result<Vec<Case>, Error> {
    let run = gate.new_run()?;
    progress("valid client sends every signal");
    let sent = valid_client::send_signals(&run).await;
    progress("invalid clients connect");
    let (grpc, http, plain_text) = tokio::join!(
        invalid_clients::with_tls(gate, Listener::Grpc, sent.reachable),
        invalid_clients::with_tls(gate, Listener::Http, sent.reachable),
        invalid_clients::without_tls(gate, sent.reachable)
    );
    progress("valid client exceeds its quota");
    let over_quota = valid_client::exceed_quota(&run, sent.reachable).await;
    let replicas = match over_quota.first().is_some_and(|it| it.result == CaseResult::Pass) {
        true => {
            progress("valid client sends through several replicas");
            replicas::check(&run).await
        }
        false => replicas::skipped(&gate.loaded.config, "the quota of one replica could not be tried"),
    };
    progress("reading what the backend received");
    let arrived = arrival::check(&run, &sent.accepted).await?;
    progress("a client without the gateway's certificate connects to the Collector");
    let around = around::check(gate).await;
    let mut cases = sent.cases;
    cases.push(plain_text);
    for more in [grpc, http, over_quota, arrived, around] {
        cases.extend(more);
    }
    cases.extend(replicas);
    Ok(cases)
}
