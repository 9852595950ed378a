//! Checks whether a cluster has what the gate needs, and what acts on its gateway.
//!
//! A new check is a file here, or a function, that gives a [`Check`], and a call in [`examine`].

mod attached;
mod clocks;
mod control_plane;
mod gateway_api;
mod load_balancer;
mod permissions;

use serde::Serialize;

use crate::cluster::{Cluster, Discovery};
use crate::error::Error;
use crate::model::{Installation, Object};

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// The result.
    #[serde(rename = "verdict")]
    pub(crate) result: CheckResult,
    /// What was checked.
    pub(crate) subject: String,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(rename = "cure", skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckResult {
    /// As required.
    Pass,
    /// May become a problem.
    Warn,
    /// The gate cannot work, or is not secure.
    Fail,
}

impl Check {
    fn pass(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Check { result: CheckResult::Pass, subject: subject.into(), found: found.into(), hint: None }
    }

    fn warn(subject: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Check { result: CheckResult::Warn, hint: Some(hint.into()), ..Check::pass(subject, found) }
    }

    fn fail(subject: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Check { result: CheckResult::Fail, hint: Some(hint.into()), ..Check::pass(subject, found) }
    }
}

/// Runs all checks. `mesh` is the summary of mesh detection, if the mesh makes a difference.
///
/// # Errors
/// The API server does not respond to a check.
pub(crate) async fn examine(
    cluster: &Cluster,
    discovery: &Discovery,
    installation: &Installation<'_>,
    objects: &[Object],
    mesh: Option<String>,
) -> Result<Vec<Check>, Error> {
    let config = installation.config;
    let mut checks = vec![version(cluster)];
    checks.extend(clocks::checks(cluster).await);
    checks.extend(kinds(discovery, objects));
    if config.gateway.enabled {
        checks.extend(gateway_api::checks(cluster, config).await?);
        checks.push(control_plane::check(cluster, config).await?);
        checks.push(load_balancer::check(cluster, config).await);
    }
    checks.push(permissions::check(cluster, discovery, objects).await?);
    checks.extend(mesh.map(|summary| Check::pass("mesh", summary)));
    if config.gateway.enabled {
        checks.extend(attached::checks(cluster, installation, objects).await?);
    }
    Ok(checks)
}

/// The oldest minor version of Kubernetes 1 with validating admission policies, strict validation in server-side apply,
/// and `matchLabelKeys`.
const OLDEST: u32 = 29;

fn version(cluster: &Cluster) -> Check {
    let subject = "Kubernetes";
    let found = format!("{} at {}", cluster.version, cluster.url);
    let minor = cluster.version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if minor < OLDEST => {
            Check::fail(subject, found, format!("upgrade to 1.{OLDEST} or later"))
        }
        _ => Check::pass(subject, found),
    }
}

fn kinds(discovery: &Discovery, objects: &[Object]) -> Vec<Check> {
    let missing = discovery.missing(objects);
    if missing.is_empty() {
        return vec![Check::pass("kinds", "the cluster serves all kinds of the gate's objects")];
    }
    missing
        .into_iter()
        .map(|it| Check::fail(it.kind, format!("the cluster does not serve {}", it.api_version), it.hint))
        .collect()
}
