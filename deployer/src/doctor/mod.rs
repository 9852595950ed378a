//! What a cluster needs for the gate, looked at before anything is put there.

mod clock;
mod gateway_api;
mod rights;
mod servers;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::cluster::{Cluster, Discovery};
use crate::error::Error;
use crate::resources::{Gate, Object};

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it is.
    pub verdict: Verdict,
    /// What it is.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Pass,
    /// It may become a problem.
    Warn,
    /// The gate cannot work like this.
    Fail,
}

impl Check {
    /// A good one.
    pub fn pass(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Check { verdict: Verdict::Pass, subject: subject.into(), found: found.into(), cure: None }
    }

    fn warn(subject: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Check { verdict: Verdict::Warn, cure: Some(cure.into()), ..Check::pass(subject, found) }
    }

    fn fail(subject: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Check { verdict: Verdict::Fail, cure: Some(cure.into()), ..Check::pass(subject, found) }
    }
}

/// Looks at all of it.
pub async fn examine(
    cluster: &Cluster,
    discovery: &Discovery,
    gate: &Gate<'_>,
    objects: &[Object],
) -> Result<Vec<Check>, Error> {
    let mut checks = vec![version(cluster)];
    checks.extend(clock::checks(cluster).await);
    checks.extend(kinds(discovery, objects));
    if gate.config.gateway.enabled {
        checks.extend(gateway_api::checks(cluster, gate).await?);
        checks.extend(servers::checks(cluster, gate).await?);
        checks.push(load_balancer(cluster, gate).await?);
    }
    checks.extend(rights::checks(cluster, discovery, objects).await?);
    Ok(checks)
}

/// Validating admission, server-side apply's strict validation and `matchLabelKeys` are all there since this minor version.
const OLDEST: u32 = 29;

fn version(cluster: &Cluster) -> Check {
    let subject = "Kubernetes";
    let minor = cluster.version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if minor < OLDEST => Check::fail(
            subject,
            format!("{} at {}", cluster.version, cluster.url),
            format!("upgrade to 1.{OLDEST} or later"),
        ),
        _ => Check::pass(subject, format!("{} at {}", cluster.version, cluster.url)),
    }
}

fn kinds(discovery: &Discovery, objects: &[Object]) -> Vec<Check> {
    let missing = discovery.missing(objects);
    if missing.is_empty() {
        return vec![Check::pass("kinds", "the cluster serves all that the gate is made of")];
    }
    missing
        .into_iter()
        .map(|it| Check::fail(it.kind, format!("the cluster does not serve {}", it.api_version), it.cure))
        .collect()
}

/// Whether Services of type LoadBalancer get addresses. A cluster without any tells nothing.
async fn load_balancer(cluster: &Cluster, gate: &Gate<'_>) -> Result<Check, Error> {
    let subject = "load balancer";
    let services = Api::<Service>::all(cluster.client.clone()).list(&ListParams::default()).await;
    let Ok(services) = services else {
        return Ok(Check::warn(subject, "Services may not be listed", "look at `status` after `apply`"));
    };
    let is_balancer =
        |it: &&Service| it.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let has_address = |it: &Service| {
        let balancer = it.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        balancer.and_then(|it| it.ingress.as_ref()).is_some_and(|it| !it.is_empty())
    };
    let balancers: Vec<&Service> = services.items.iter().filter(is_balancer).collect();
    if gate.config.gateway.annotations.contains_key("networking.istio.io/service-type") {
        return Ok(Check::pass(subject, "not asked for, by an annotation in the config"));
    }
    Ok(match balancers.iter().find(|it| has_address(it)) {
        Some(found) => Check::pass(subject, format!("Service {} has an address", found.name_any())),
        None if balancers.is_empty() => Check::pass(subject, "not seen yet: no Service asks for one"),
        None => Check::warn(
            subject,
            format!("none of {} Services of type LoadBalancer has an address", balancers.len()),
            "install one, such as MetalLB, or your cloud's controller",
        ),
    })
}
