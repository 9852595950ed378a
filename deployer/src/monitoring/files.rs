//! Alarms, scrape configs and dashboards as files, for a Prometheus and a Grafana without an operator.

use std::path::Path;

use serde_json::{Value, json};

use super::{Target, dashboards, gate, rule_groups};
use crate::error::Error;
use crate::file::{Access, Existing, Staged};
use crate::model::{Installation, yaml};

/// Writes `rules.yaml` (`rule_files` of Prometheus), `scrape.yaml` (`scrape_config_files`) and a file for each dashboard
/// into `folder/dashboards`.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_files(
    folder: &Path,
    installation: &Installation<'_>,
    targets: &[Target],
) -> Result<(), Error> {
    let gate = gate(installation);
    let scrapes: Vec<Value> = targets.iter().map(|it| it.scrape_config(&gate)).collect();
    let page = installation.config.monitoring.as_ref().and_then(|it| it.runbooks.as_deref());
    put(&folder.join("rules.yaml"), &yaml(&json!({"groups": rule_groups(page, &gate)}))?)?;
    put(&folder.join("scrape.yaml"), &yaml(&json!({"scrape_configs": scrapes}))?)?;
    for dashboard in dashboards() {
        put(&folder.join("dashboards").join(dashboard.file_name()), &dashboard.text())?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), Error> {
    Staged::new(path, text.as_bytes(), Access::Public)?.commit(Existing::Replace)
}
