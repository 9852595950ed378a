//! The other end of a connection: a client, or a trusted hop.

use std::rc::Rc;

use super::busiest::{IsBusiest, OTHER};
use super::metrics::ClientMetrics;
use crate::identity::Validity;
use crate::policy;
use crate::quota::{BucketId, Tier};
use crate::response::Reason;
use crate::time::Timestamp;

/// A client as a worker caches it.
#[derive(Debug)]
pub struct Client {
    /// What the policy identified its certificate as.
    pub(super) resolved: policy::Client,
    /// The ids of its metrics, where these have its name.
    pub(super) metrics: ClientMetrics,
    /// Whether it has metrics of its own because it is busy.
    pub(super) busiest: IsBusiest,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A client.
    Client(Rc<Client>),
    /// A proxy that forwards the identity of its client with each request.
    Hop(TrustedHop),
}

/// A proxy in front of the gateway that forwards client identities.
#[derive(Debug, Clone)]
pub struct TrustedHop {
    /// The SHA-256 of its certificate.
    pub(super) fingerprint: [u8; 32],
    pub(super) validity: Validity,
    /// The header in which it forwards its client's certificate; `None` for Envoy's elements of
    /// `x-forwarded-client-cert`.
    pub(super) header: Option<Rc<str>>,
}

impl Client {
    pub(super) fn new(resolved: policy::Client) -> Self {
        Client { resolved, metrics: ClientMetrics::default(), busiest: IsBusiest::default() }
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        &self.resolved.name
    }

    /// The token bucket that its requests are charged to.
    pub(super) fn bucket(&self) -> BucketId {
        self.resolved.bucket
    }

    /// The limits of its bucket.
    pub(super) fn tier(&self) -> &Tier {
        &self.resolved.tier
    }

    /// Whether it has metrics of its own.
    pub(super) fn has_metrics(&self) -> bool {
        self.resolved.listed || self.busiest.get()
    }

    /// The value of the tag `client` in metrics: the name, or `other` for a client without metrics of its own.
    pub fn metric_tag(&self) -> &str {
        if self.has_metrics() { &self.resolved.name } else { OTHER }
    }

    /// Checks that the client's certificate is valid at `now`: a connection may outlive the
    /// certificate that it was opened with.
    ///
    /// # Errors
    /// The certificate is not valid.
    pub fn check_validity(&self, now: Timestamp) -> Result<(), Reason> {
        self.resolved.validity.map_or(Ok(()), |validity| check(validity, now))
    }

    /// The memory it takes, in bytes, without what it shares with other clients.
    pub fn size(&self) -> usize {
        // The allocator's overhead for each block.
        const BLOCK: usize = 16;
        let headers = self.resolved.headers.iter().map(|(name, value)| {
            2 * BLOCK + size_of::<(String, String)>() + name.capacity() + value.capacity()
        });
        size_of::<Self>()
            + 4 * BLOCK
            + self.resolved.name.capacity()
            + self.resolved.resource_attributes.size()
            + headers.sum::<usize>()
    }
}

impl Peer {
    /// The memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Peer::Client(client) => client.size(),
            Peer::Hop(_) => size_of::<Self>(),
        }
    }
}

impl TrustedHop {
    /// The hop whose certificate has this SHA-256.
    pub fn new(fingerprint: [u8; 32], validity: Validity) -> Self {
        TrustedHop { fingerprint, validity, header: None }
    }

    /// Checks that the hop's certificate is valid at `now`.
    ///
    /// # Errors
    /// The certificate is not valid.
    pub(super) fn check_validity(&self, now: Timestamp) -> Result<(), Reason> {
        check(self.validity, now)
    }
}

fn check(validity: Validity, now: Timestamp) -> Result<(), Reason> {
    validity.check(now).map_err(|invalid| Reason::CertificateInvalid { invalid, validity })
}
