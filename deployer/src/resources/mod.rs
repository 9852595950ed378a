//! The objects that every gate has, whatever the provider: namespace, Gateway, routes, certificates, the Collector, the
//! engine of shared quotas, and the node-local gateway.
//!
//! A new object is a file here (or in [`crate::providers`], if only one provider needs it), a call in
//! [`crate::render::objects`], and its kind in [`crate::render::KINDS`].

pub(crate) mod cert_manager;
pub(crate) mod collector;
mod collector_config;
mod collector_exporters;
mod collector_pipelines;
mod collector_pod;
mod collector_queue;
pub(crate) mod collector_tls;
pub(crate) mod gateway;
pub(crate) mod internal_tls;
pub(crate) mod monitoring;
pub(crate) mod namespace;
pub(crate) mod node_local;
mod ottl;
pub(crate) mod quota_engine;
mod restricted;
pub(crate) mod routes;
pub(crate) mod verify_job;

pub(crate) use collector_config::METRICS as COLLECTOR_METRICS;
