//! Where metrics are read: the proxies of a gateway in a cluster, or Envoys on this machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::reading::Reading;
use super::sample::{Readings, Replica, Sample, clients};
use crate::cluster::{Cluster, proxy_metrics, running_proxies};
use crate::envoy::Admin;
use crate::error::Error;
use crate::providers::Workload;

/// Selects the filter's metrics.
const FILTER: &str = "otlp_gate_";

/// How long an Envoy on this machine may take to return its metrics.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Where metrics are read.
#[derive(Debug)]
pub(crate) enum Source {
    /// The proxies of a gateway in a cluster.
    Cluster(Box<Cluster>, Workload),
    /// The admin interfaces of Envoys.
    Local(Vec<SocketAddr>),
}

/// Reads all replicas again and again.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Source,
    last: BTreeMap<String, (Instant, Reading)>,
}

impl Reader {
    pub(crate) fn new(source: Source) -> Self {
        Reader { source, last: BTreeMap::new() }
    }

    /// Reads all replicas. The sample has what was counted since they were read last, so the first one has no clients.
    ///
    /// # Errors
    /// The replicas are not known, or none of them can be read.
    pub(crate) async fn read(&mut self) -> Result<Sample, Error> {
        let mut texts = match &self.source {
            Source::Cluster(cluster, workload) => of_cluster(cluster, workload).await?,
            Source::Local(addresses) => of_machine(addresses).await,
        };
        texts.sort_by(|a, b| a.0.cmp(&b.0));
        if texts.is_empty() {
            return Err(Error::failed("no proxy of the gateway is running").hint("run `otlp-gate status`"));
        }
        if let Some((name, Err(error))) = texts.first()
            && texts.iter().all(|(_, text)| text.is_err())
        {
            let failed = Error::failed(format_args!("cannot read the metrics of {name}: {error}"));
            return Err(match self.source {
                Source::Cluster(..) => failed,
                Source::Local(_) => {
                    failed.hint("`otlp-gate local` prints the address of its admin interface")
                }
            });
        }
        let mut replicas = Vec::new();
        let mut now = BTreeMap::new();
        for (name, text) in texts {
            let error = match text {
                Ok(text) => {
                    now.insert(name.clone(), (Instant::now(), Reading::of(&text)));
                    None
                }
                Err(error) => Some(error),
            };
            replicas.push(Replica { name, error });
        }
        let mut all = Vec::new();
        for (name, (at, now)) in &now {
            if let Some((before_at, before)) = self.last.get(name) {
                let seconds = at.duration_since(*before_at).as_secs_f64().max(0.001);
                all.push(Readings { before, now, seconds });
            }
        }
        let seconds = all.iter().map(|it| it.seconds).fold(0.0, f64::max);
        let sample = Sample { seconds, replicas, clients: clients(&all) };
        drop(all);
        self.last = now;
        Ok(sample)
    }
}

type Texts = Vec<(String, Result<String, String>)>;

async fn of_cluster(cluster: &Cluster, workload: &Workload) -> Result<Texts, Error> {
    let mut reads = JoinSet::new();
    for pod in running_proxies(cluster, workload).await? {
        let (cluster, port) = (cluster.clone(), workload.stats_port);
        reads.spawn(async move {
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            let text = proxy_metrics(&cluster, &namespace, &name, port, FILTER).await;
            (name, text)
        });
    }
    Ok(reads.join_all().await)
}

async fn of_machine(addresses: &[SocketAddr]) -> Texts {
    let mut reads = JoinSet::new();
    for address in addresses.iter().copied() {
        reads.spawn(async move {
            let text = match timeout(LOCAL_TIMEOUT, Admin::at(address).prometheus(FILTER)).await {
                Err(_) => Err(format!("no response within {} s", LOCAL_TIMEOUT.as_secs())),
                Ok(text) => text.map_err(|error| error.to_string()),
            };
            (address.to_string(), text)
        });
    }
    reads.join_all().await
}
