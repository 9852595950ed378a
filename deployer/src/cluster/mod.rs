//! The API server: discovery, server-side apply, prune, rollout, status, attached policies, and its errors.
//!
//! | to add | see |
//! |---|---|
//! | a reason why a component is not ready | `not_ready.rs` |
//! | a reason why the API server rejects a request | `api_error.rs` |
//! | a kind whose conditions count for the status | `conditions.rs` |
//! | a kind that can be attached to a gateway | `attached.rs` |

mod api_error;
mod attached;
mod bundles;
mod client;
mod conditions;
mod diagnosis;
mod discovery;
mod envoy_gateway;
mod extension;
mod forwarding;
mod istio;
mod live_policy;
mod managers;
mod mesh;
mod missing;
mod not_ready;
mod operator;
mod plan;
mod proxies;
mod prune;
mod release;
pub(crate) mod rollout;
mod server_certificate;
mod shared_quotas;
mod status;

pub(crate) use api_error::{api_error, if_allowed};
pub(crate) use attached::{Attachment, attached};
pub(crate) use bundles::{Bundle, client_ca_bundles};
pub(crate) use client::{Cluster, selecting};
pub(crate) use discovery::Discovery;
pub(crate) use envoy_gateway::ignores_dynamic_module;
pub(crate) use extension::detect_extension;
pub(crate) use live_policy::live_client_cas;
pub(crate) use mesh::{DetectedMesh, detect_mesh};
pub(crate) use missing::{Missing, missing};
pub(crate) use operator::detect_prometheus_operator;
pub(crate) use plan::{Change, Plan, Planned};
pub(crate) use proxies::{is_running, proxy_metrics, running_proxies};
pub(crate) use prune::{Pruned, prune, retained};
pub(crate) use server_certificate::ServerCertificate;
pub(crate) use shared_quotas::other_limits;
pub(crate) use status::{Component, Status, gateway_address, status, verify_requests};
