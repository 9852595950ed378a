//! What to watch of a gate: the alarms and the panels of dashboards, each once. Rule files, dashboards, the objects of
//! the Prometheus operator and docs/guides/monitoring.md are made from these.
//!
//! Every target has the labels `job` (one of [`Job`]) and `gate` (`NAMESPACE/NAME`), which scrape configs and monitors
//! set. Expressions group by `gate`, so that several gates can share a Prometheus.

mod alarms;
mod dashboards;
mod files;
mod recordings;
mod targets;

pub(crate) use alarms::rule_groups;
#[cfg(test)]
pub(crate) use alarms::{Alarm, Group, alarms};
pub(crate) use dashboards::dashboards;
pub(crate) use files::write_files;
#[cfg(test)]
pub(crate) use recordings::recordings;
pub(crate) use targets::{Job, Target, gate, targets};
