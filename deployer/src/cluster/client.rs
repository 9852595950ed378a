//! The connection to the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::time::timeout;

use super::api_error::{api_error, unreachable};
use crate::error::Error;

/// How long the API server may take for its first response.
const FIRST_RESPONSE: Duration = Duration::from_secs(5);

/// A cluster whose API server has responded.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The client for the API server.
    pub(crate) client: Client,
    /// The same without retries, for requests to pods by the API server's proxy: an answer with 503 is about the pod.
    pub(crate) pods: Client,
    /// The API server's URL.
    pub(crate) url: String,
    /// The API server's version, such as `v1.35.0`.
    pub(crate) version: String,
}

impl Cluster {
    /// Connects with a context of the kubeconfig, by default its current one (`KUBECONFIG`, `~/.kube/config`), or in a
    /// pod with its service account.
    ///
    /// # Errors
    /// There is no usable kubeconfig, it has no such context, or the API server does not respond.
    pub(crate) async fn connect(context: Option<&str>) -> Result<Self, Error> {
        let config = match context {
            None => Config::infer().await.map_err(|e| {
                // The error itself says that this is not a pod; its cause says what is wrong with the kubeconfig.
                let cause = std::error::Error::source(&e).and_then(|it| it.downcast_ref::<KubeconfigError>());
                cause.map_or_else(|| no_kubeconfig(&e), unusable_kubeconfig)
            })?,
            Some(context) => {
                let kubeconfig = Kubeconfig::read().map_err(|e| unusable_kubeconfig(&e))?;
                let contexts: Vec<String> = kubeconfig.contexts.iter().map(|it| it.name.clone()).collect();
                let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| {
                    Error::failed(format_args!("cannot use the kubeconfig's context `{context}`: {e}"))
                        .hint(format_args!("its contexts are: {}", contexts.join(", ")))
                })?
            }
        };
        let url = config.cluster_url.to_string();
        let url = url.trim_end_matches('/').to_owned();
        let client = |config: Config| {
            Client::try_from(config)
                .map_err(|e| Error::failed(format_args!("cannot use the kubeconfig for {url}: {e}")))
        };
        let mut unretried = config.clone();
        unretried.default_retry = false;
        let pods = client(unretried)?;
        let client = client(config)?;
        let version = match timeout(FIRST_RESPONSE, client.apiserver_version()).await {
            Ok(Ok(version)) => version.git_version,
            Ok(Err(error)) => {
                return Err(api_error(format_args!("cannot connect to the cluster at {url}"), &error));
            }
            Err(_) => {
                return Err(unreachable(format_args!(
                    "the cluster at {url} does not respond within {} s",
                    FIRST_RESPONSE.as_secs()
                )));
            }
        };
        Ok(Cluster { client, pods, url, version })
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("url", &self.url).finish_non_exhaustive()
    }
}

fn unusable_kubeconfig(error: &KubeconfigError) -> Error {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            no_kubeconfig(&format_args!("cannot read {}: {error}", path.display()))
        }
        KubeconfigError::CurrentContextNotSet => no_kubeconfig(&"it has no current context"),
        KubeconfigError::LoadContext(name) => {
            no_kubeconfig(&format_args!("its current context `{name}` does not exist"))
        }
        other => no_kubeconfig(other),
    }
}

fn no_kubeconfig(error: &impl std::fmt::Display) -> Error {
    Error::failed(format_args!("no usable kubeconfig: {error}"))
        .hint("set KUBECONFIG to a kubeconfig, or `--context NAME` to one of its contexts")
}

/// Selects objects that have all of these labels.
pub(crate) fn selecting(labels: &BTreeMap<String, String>) -> ListParams {
    ListParams::default().labels_from(&labels.clone().into_iter().collect())
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
