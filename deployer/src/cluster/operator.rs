//! Finds out whether a cluster has the Prometheus operator.

use super::client::Cluster;
use super::discovery::Discovery;
use crate::config::{Config, PrometheusOperator};
use crate::error::Error;
use crate::resources::monitoring::OPERATOR_API;

/// Whether to make objects of the Prometheus operator's kinds.
///
/// # Errors
/// The API server does not respond.
pub(crate) async fn detect_prometheus_operator(cluster: &Cluster, config: &Config) -> Result<bool, Error> {
    match config.monitoring.as_ref().map(|it| it.prometheus_operator) {
        None | Some(PrometheusOperator::Off) => Ok(false),
        Some(PrometheusOperator::On) => Ok(true),
        Some(PrometheusOperator::Auto) => {
            let discovery = Discovery::of(cluster, [OPERATOR_API]).await?;
            let served = |kind| discovery.plural(OPERATOR_API, kind).is_some();
            Ok(served("PodMonitor") && served("PrometheusRule"))
        }
    }
}
