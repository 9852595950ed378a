//! Checks whether a cluster has what the gate needs, and what acts on its gateway.
//!
//! A new check is a file here, or a function, that gives a [`Check`], and a call in [`examine`].

mod attached;
mod clocks;
pub(crate) mod collector_config;
mod collector_tls;
mod control_plane;
mod gateway_api;
mod load_balancer;
mod native_module;
mod permissions;
mod quota_engine;
mod server_certificate;
mod storage;

use serde::Serialize;

use crate::cluster::{Bundle, Cluster, Discovery, Missing, missing};
use crate::error::Error;
use crate::model::{Installation, Object};
use crate::render;

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

/// Runs all checks. `mesh` is the summary of mesh detection, if the mesh makes a difference; `bundles` are the client
/// CAs in ConfigMaps.
///
/// # Errors
/// The API server does not respond to a check.
pub(crate) async fn examine(
    cluster: &Cluster,
    discovery: &Discovery,
    installation: &Installation<'_>,
    objects: &[Object],
    mesh: Option<String>,
    bundles: &[Bundle],
) -> Result<Vec<Check>, Error> {
    let config = installation.config;
    let mut checks = vec![version(cluster)];
    checks.extend(clocks::checks(cluster).await);
    checks.extend(kinds(discovery, objects));
    if config.gateway.enabled {
        checks.extend(gateway_api::checks(cluster, config).await?);
        checks.push(control_plane::check(cluster, config).await?);
        checks.extend(native_module::check(cluster, config).await?);
        checks.push(load_balancer::check(cluster, config).await);
        checks.extend(collector_tls::checks(cluster, installation).await?);
        checks.extend(storage::check(cluster, config).await);
    }
    checks.push(permissions::check(cluster, discovery, objects).await?);
    checks.extend(mesh.map(|summary| Check::pass("mesh", summary)));
    checks.extend(bundles.iter().map(bundle));
    checks.extend(references(cluster, installation).await?);
    if config.gateway.enabled {
        checks.push(server_certificate::check(cluster, installation).await?);
        checks.extend(attached::checks(cluster, installation, objects).await?);
        checks.extend(quota_engine::checks(cluster, installation).await?);
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

/// Whether the policy has the CAs in a ConfigMap that something else writes.
fn bundle(bundle: &Bundle) -> Check {
    let subject = format!("client CA {}", bundle.ca);
    match (&bundle.keys, bundle.drift()) {
        (Err(why), _) => Check::warn(
            subject,
            format!("unknown: configmap/{}: {why}", bundle.config_map),
            format!(
                "its `ca.crt` must have the certificates of the CAs, in PEM: rules with `ca: {}` need them",
                bundle.ca
            ),
        ),
        (Ok(_), Some(drift)) => Check::warn(subject, drift, "`otlp-gate apply` updates the policy"),
        (Ok(keys), None) => Check::pass(
            subject,
            format!("the policy has all CAs in configmap/{}: {}", bundle.config_map, keys.len()),
        ),
    }
}

/// The objects that the config refers to.
async fn references(cluster: &Cluster, installation: &Installation<'_>) -> Result<Vec<Check>, Error> {
    let references = render::references(installation);
    let missing = missing(cluster, &references).await?;
    if missing.is_empty() && !references.is_empty() {
        let found = format!("the objects that the config names exist: {}", references.len());
        return Ok(vec![Check::pass("references", found)]);
    }
    let check = |it: Missing<'_>| Check::fail(it.reference.path.to_string(), it.message, it.hint);
    Ok(missing.into_iter().map(check).collect())
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
