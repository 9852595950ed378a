//! The tests in tests/cluster, on a cluster with each provider.

use anyhow::Result;

use super::Outcome;
use crate::cluster::{self, Provider};
use crate::e2e;

pub(super) fn istio() -> Result<Outcome> {
    on(Provider::Istio)
}

pub(super) fn envoy_gateway() -> Result<Outcome> {
    on(Provider::EnvoyGateway)
}

fn on(provider: Provider) -> Result<Outcome> {
    if let Some(why) = cluster::why_not()? {
        return Ok(Outcome::Skipped(why));
    }
    e2e::recipe(&e2e::Args::new(provider))?;
    Ok(Outcome::Passed)
}
