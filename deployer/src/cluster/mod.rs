//! The cluster: what is there, how it gets what the gate needs, and whether all of it is up.

mod apply;
mod discovery;
mod explain;
mod foreign;
mod mesh;
mod ownership;
mod ready;
mod refusal;

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::time::timeout;

pub use apply::{Change, Plan, Planned, Pruned, prune};
pub use discovery::{Discovery, Missing};
pub use foreign::{Finding, foreign};
pub use mesh::{Noticed, mesh};
pub use ready::{Part, Standing, gateway_address, standing};
pub(crate) use refusal::terminating;

use crate::error::{Error, with_causes};
use crate::global::Global;

/// Who the API server is told that changes objects.
pub const FIELD_MANAGER: &str = "otlp-gate";
/// How long the API server may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    /// Speaks to its API server.
    pub client: Client,
    /// Where that is.
    pub url: String,
    /// The version that it says it has.
    pub version: String,
}

impl Cluster {
    /// Connects as the kubeconfig says (`KUBECONFIG`, `~/.kube/config`), or as a pod of the cluster itself.
    ///
    /// # Errors
    /// There is no kubeconfig, it has no such context, or the API server does not answer.
    pub async fn connect(global: &Global) -> Result<Self, Error> {
        let config = match &global.context {
            None => Config::infer().await.map_err(|e| {
                // It says first that this is no pod of a cluster, and what is wrong with the kubeconfig is its cause.
                let cause = std::error::Error::source(&e).and_then(|it| it.downcast_ref::<KubeconfigError>());
                cause.map_or_else(|| no_kubeconfig(&e), no_kubeconfig_for)
            })?,
            Some(context) => {
                let kubeconfig = Kubeconfig::read().map_err(|e| no_kubeconfig_for(&e))?;
                let contexts: Vec<String> = kubeconfig.contexts.iter().map(|it| it.name.clone()).collect();
                let options = KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| {
                    Error::failed(format_args!("cannot use the kubeconfig's context `{context}`: {e}"))
                        .hint(format_args!("its contexts are: {}", contexts.join(", ")))
                })?
            }
        };
        let url = config.cluster_url.to_string();
        let url = url.trim_end_matches('/').to_owned();
        let client = Client::try_from(config)
            .map_err(|e| Error::failed(format_args!("cannot use the kubeconfig for {url}: {e}")))?;
        let version = match timeout(PATIENCE, client.apiserver_version()).await {
            Ok(Ok(version)) => version.git_version,
            Ok(Err(error)) => {
                return Err(failed(format_args!("cannot talk to the cluster at {url}"), &error));
            }
            Err(_) => {
                return Err(unreachable(format_args!(
                    "the cluster at {url} does not answer within {} s",
                    PATIENCE.as_secs()
                )));
            }
        };
        Ok(Cluster { client, url, version })
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

fn no_kubeconfig_for(error: &KubeconfigError) -> Error {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            no_kubeconfig(&format_args!("cannot read {}: {error}", path.display()))
        }
        KubeconfigError::CurrentContextNotSet => no_kubeconfig(&"it names no current context"),
        KubeconfigError::LoadContext(name) => {
            no_kubeconfig(&format_args!("it has no context `{name}`, which it names as its current one"))
        }
        other => no_kubeconfig(other),
    }
}

fn no_kubeconfig(error: &impl std::fmt::Display) -> Error {
    Error::failed(format_args!("there is no kubeconfig that can be used: {error}"))
        .hint("set KUBECONFIG to one, or `--context NAME` to one of its contexts")
}

fn unreachable(message: impl std::fmt::Display) -> Error {
    Error::failed(message)
        .hint("`kubectl cluster-info` shows whether it is there; `--context NAME` chooses another cluster")
}

/// Only what has all of these labels.
pub(crate) fn selecting(labels: &BTreeMap<String, String>) -> ListParams {
    ListParams::default().labels_from(&labels.clone().into_iter().collect())
}

/// What the API server or the way to it did not do, in a user's words.
pub fn failed(doing: impl std::fmt::Display, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            Error::failed(format_args!("{doing}: the API server does not know who asks"))
                .hint("the kubeconfig's credentials may have expired; log in again")
        }
        // What else is forbidden, such as by a ResourceQuota, no right helps against.
        kube::Error::Api(status) if status.is_forbidden() && status.message.contains(" cannot ") => {
            Error::failed(format_args!("{doing}: {}", status.message)).hint(
                "ask for these rights, or use credentials that have them: `kubectl auth can-i --list` shows yours",
            )
        }
        kube::Error::Api(status) => Error::failed(format_args!("{doing}: {}", status.message)),
        other => unreachable(format_args!("{doing}: {}", with_causes(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_the_api_server_reads_them() {
        let labels =
            [("app", "gate"), ("tier", "edge")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(selecting(&labels.into()).label_selector.as_deref(), Some("app=gate,tier=edge"));
    }
}
