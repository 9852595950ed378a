//! A gateway's policy at work: a [`Worker`] in a proxy, the policy of each [`Plugin`] ([`Gate`]), and one [`Stream`]
//! for each request.
//!
//! The filter calls this module with the proxy's callbacks, and implements [`Host`], the calls back into the proxy.
//! Everything is decided here and is tested without a proxy.

mod busiest;
mod client;
mod client_cache;
mod cors;
mod counters;
mod edits;
mod forwarded;
mod head;
mod headers;
mod health;
mod host;
mod identify;
mod load;
mod memory;
mod metrics;
mod outcome;
mod path;
mod plugin;
mod probe_signal;
mod reporter;
mod request;
mod stream;
mod worker;

pub use client::{Client, Peer, TrustedHop};
pub use cors::AllowedOrigin;
pub use edits::HeaderEdits;
pub use forwarded::Forwarded;
pub use head::{Encoding, Head};
pub use headers::{Headers, headers_size};
pub use health::{HealthCheck, HealthHead};
pub use host::{HeaderMap, Host, entropy};
pub use load::Gate;
pub use memory::{Memory, Reservation};
pub use metrics::{
    Definition, ENGINE_ANSWERED, ENGINE_UP, FOREIGN_CERTIFICATES, POLICY_REVISION, QuotaUsed, REQUESTS,
    Series, definitions, quota_rate,
};
pub use outcome::Outcome;
pub use plugin::Plugin;
pub use reporter::{ENGINE_PASSWORD, ENGINE_USER};
pub use request::{Outgoing, Request};
pub use stream::{Action, Stream};
pub use worker::Worker;

#[cfg(test)]
mod tests;
