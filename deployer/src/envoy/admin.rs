//! What Envoy says about itself on its admin interface.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Empty};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::dynamic::Dynamic;
use crate::error::Error;

/// Where a gate listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub grpc: SocketAddr,
    /// OTLP/HTTP.
    pub http: SocketAddr,
    /// Envoy's admin interface; loopback only.
    pub admin: SocketAddr,
}

/// Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct Admin {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        Admin { address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Whether Envoy takes connections: all that its listeners wait for has arrived.
    pub(super) async fn is_live(&self) -> bool {
        self.get("/ready").await.is_ok_and(|answer| answer.trim() == "LIVE")
    }

    /// Where the listeners are bound.
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

    /// The version of a dynamic part that is in use; `None` before the first.
    pub(super) async fn version(&self, part: Dynamic) -> Result<Option<u64>, Error> {
        let version = self.stat(&format!("{}.version_text", part.stats())).await?;
        Ok(version.and_then(|version| version.trim_matches('"').parse().ok()))
    }

    /// How many versions of a dynamic part Envoy has refused.
    pub async fn refused(&self, part: Dynamic) -> Result<u64, Error> {
        let refused = self.stat(&format!("{}.update_rejected", part.stats())).await?;
        Ok(refused.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// A statistic, as text; `None` where there is none of this name yet.
    async fn stat(&self, name: &str) -> Result<Option<String>, Error> {
        let text = self.get(&format!("/stats?filter=^{}$", name.replace('.', "[.]"))).await?;
        Ok(text.lines().find_map(|line| Some(line.split_once(": ")?.1.trim().to_owned())))
    }

    /// The sum of all counters whose names, without the tags in front, are this.
    pub async fn sum(&self, name: &str) -> Result<u64, Error> {
        let text = self.get(&format!("/stats?filter={name}$")).await?;
        Ok(text.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum())
    }

    /// The body of an answer with status 200.
    async fn get(&self, path: &str) -> Result<String, Error> {
        let uri =
            Uri::builder().scheme("http").authority(self.address.to_string()).path_and_query(path).build();
        let uri = uri.map_err(|error| self.unexpected(path, &error.to_string()))?;
        let answer = self.client.get(uri).await.map_err(|error| self.unexpected(path, &error.to_string()))?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| self.unexpected(path, &error.to_string()))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(body) } else { Err(self.unexpected(path, &format!("{status} {body}"))) }
    }

    fn unexpected(&self, path: &str, answer: &str) -> Error {
        let answer: String = answer.trim().chars().take(200).collect();
        Error::failed(format!(
            "envoy's admin interface, http://{}{path}: unexpected answer: {answer}",
            self.address
        ))
    }
}
