//! Envoy as a child process: its binary, bootstrap, dynamic configuration, admin interface and log.

pub(crate) mod access_log;
mod admin;
mod binary;
mod bootstrap;
pub(crate) mod bounds;
pub(crate) mod dynamic;
mod engine;
mod log;
mod process;
mod stats;

pub(crate) use admin::{Addresses, Admin};
pub(crate) use binary::{find, version};
pub(crate) use bootstrap::{Bootstrap, native_module_alone, native_runtime};
pub(crate) use dynamic::DynamicResource;
pub(crate) use engine::engine_cluster;
pub(crate) use process::{Envoy, LogLevel, StartOptions};
pub(crate) use stats::{METRIC_TAGS, stats_tags};
