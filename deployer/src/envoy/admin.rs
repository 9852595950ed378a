//! Client for Envoy's admin interface.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::dynamic::DynamicResource;
use crate::error::Error;

/// The addresses that a local gate listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// OTLP/gRPC.
    pub(crate) grpc: SocketAddr,
    /// OTLP/HTTP.
    pub(crate) http: SocketAddr,
    /// Envoy's admin interface; loopback only.
    pub(crate) admin: SocketAddr,
}

/// Envoy's admin interface.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Admin {
    /// The admin interface of an Envoy that another process has started.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Admin::new(address)
    }

    pub(super) fn new(address: SocketAddr) -> Self {
        Admin { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Whether Envoy accepts connections: its listeners have received their dynamic configuration.
    pub(super) async fn is_live(&self) -> bool {
        self.get("/ready").await.is_ok_and(|response| response.trim() == "LIVE")
    }

    /// The addresses that the listeners are bound to.
    pub(super) async fn addresses(&self) -> Result<Addresses, Error> {
        let text = self.get("/listeners?format=json").await?;
        let all: Value = serde_json::from_str(&text).unwrap_or_default();
        let bound = |name: &str| {
            let all = all.get("listener_statuses")?.as_array()?;
            let one = all.iter().find(|listener| listener.get("name").is_some_and(|given| given == name))?;
            let socket = one.pointer("/local_address/socket_address")?;
            let ip = socket.get("address")?.as_str()?.parse().ok()?;
            let port = socket.get("port_value")?.as_u64()?.try_into().ok()?;
            Some(SocketAddr::new(ip, port))
        };
        match (bound("grpc"), bound("http")) {
            (Some(grpc), Some(http)) => Ok(Addresses { grpc, http, admin: self.address }),
            _ => Err(self.unexpected("/listeners", &text)),
        }
    }

    /// The version of a dynamic resource that is in use; `None` before the first.
    pub(super) async fn version(&self, resource: DynamicResource) -> Result<Option<u64>, Error> {
        let version = self.stat(&format!("{}.version_text", resource.stats_prefix())).await?;
        Ok(version.and_then(|version| version.trim_matches('"').parse().ok()))
    }

    /// How many versions of a dynamic resource Envoy has rejected.
    pub(crate) async fn rejected_updates(&self, resource: DynamicResource) -> Result<u64, Error> {
        let rejected = self.stat(&format!("{}.update_rejected", resource.stats_prefix())).await?;
        Ok(rejected.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// The value of a statistic, as text; `None` while Envoy has none of this name.
    async fn stat(&self, name: &str) -> Result<Option<String>, Error> {
        let text = self.get(&format!("/stats?filter=^{}$", name.replace('.', "[.]"))).await?;
        Ok(text.lines().find_map(|line| Some(line.split_once(": ")?.1.trim().to_owned())))
    }

    /// The sum of a counter over all its tags, which Envoy writes in front of its name.
    pub(crate) async fn sum(&self, name: &str) -> Result<u64, Error> {
        let text = self.get(&format!("/stats?filter={name}$")).await?;
        Ok(text.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum())
    }

    /// The statistics whose names match, as Prometheus reads them.
    pub(crate) async fn prometheus(&self, filter: &str) -> Result<String, Error> {
        self.get(&format!("/stats/prometheus?filter={filter}")).await
    }

    /// The body of a response with a 2xx status.
    async fn get(&self, path: &str) -> Result<String, Error> {
        let uri =
            Uri::builder().scheme("http").authority(self.address.to_string()).path_and_query(path).build();
        let uri = uri.map_err(|error| self.unexpected(path, &error.to_string()))?;
        let response =
            self.client.get(uri).await.map_err(|error| self.unexpected(path, &error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| self.unexpected(path, &error.to_string()))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(body) } else { Err(self.unexpected(path, &format!("{status} {body}"))) }
    }

    fn unexpected(&self, path: &str, response: &str) -> Error {
        let response: String = response.trim().chars().take(200).collect();
        Error::failed(format!(
            "unexpected response from envoy's admin interface at http://{}{path}: {response}",
            self.address
        ))
    }
}
