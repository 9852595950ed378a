//! The gate: a policy at work. The filter calls this and moves bytes; everything is decided here.

mod answer;
mod client;
mod cors;
mod edits;
mod head;
mod health;
mod load;
mod memory;
mod metrics;
mod path;
mod request;

use crate::identity::{Certificate, Identity, Validity, xfcc};
use crate::policy::{Identification, Policy};
use crate::response::Reason;
use crate::time::Timestamp;

pub use crate::policy::Client;
pub use answer::Answer;
pub use cors::Origin;
pub use edits::HeaderEdits;
pub use head::{Encoding, Head, Headers, headers_size};
pub use health::{Check, Health};
pub use memory::{Held, Memory};
pub use metrics::{Metric, POLICY_REVISION, Used, metric_name};
pub use request::{Outgoing, Request};

/// A policy, ready for requests.
pub struct Gate {
    policy: Policy,
    /// What the keys of this gate's buckets start with.
    prefix: String,
    /// What the key of all clients' shared bucket starts with: it has its own, so that no client's takes its place.
    total_prefix: String,
    asked: health::Asked,
    revision: u64,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub enum Peer {
    /// A client.
    Client(Client),
    /// A proxy that says with each request who its client is.
    Hop(Hop),
}

/// A proxy in front that says who its clients are.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    fingerprint: [u8; 32],
    validity: Validity,
}

/// What a proxy says of its client's certificate. It is for the gate only, whoever sends it.
const FORWARDED_CERTIFICATE: &str = "x-forwarded-client-cert";

impl Hop {
    /// The hop with this fingerprint.
    pub fn new(fingerprint: [u8; 32], validity: Validity) -> Self {
        Hop { fingerprint, validity }
    }
}

impl Gate {
    /// A gate for a valid policy.
    pub fn new(policy: Policy) -> Self {
        let prefix = format!("otlp-gate/{}", policy.gate());
        let total_prefix = format!("{prefix}/total");
        Gate { policy, prefix, total_prefix, asked: health::Asked::default(), revision: 0 }
    }

    /// Which policy it has, as whoever made it calls it.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Who is at the other end of a connection. `identity` is what the proxy says of the certificate that it has validated; the
    /// certificate itself stands in the headers that the proxy hands on.
    ///
    /// # Errors
    /// It is nobody who may send, or the proxy does not hand over the certificate.
    pub fn peer(&self, mut identity: Identity, headers: &Headers) -> Result<Peer, Reason> {
        let fingerprint = identity.sha256.ok_or(Reason::NoCertificate)?;
        let der = xfcc::certificate(&forwarded_certificate(headers), &fingerprint);
        let certificate = Certificate::parse(&der.ok_or(Reason::CertificateWithheld)?);
        let certificate = certificate.ok_or(Reason::CertificateUnreadable)?;
        let validity = certificate.validity;
        identity.certificate = Some(Box::new(certificate));
        match self.policy.is_hop(&identity) {
            true => Ok(Peer::Hop(Hop::new(fingerprint, validity))),
            false => self.client(&identity).map(Peer::Client),
        }
    }

    /// What a hop says of its client; it is the same client as long as this is the same.
    ///
    /// # Errors
    /// It says nothing that counts, or its own certificate is not valid at `now` any more.
    pub fn forwarded(&self, headers: &Headers, hop: &Hop, now: Timestamp) -> Result<String, Reason> {
        valid(hop.validity, now)?;
        let header = forwarded_certificate(headers);
        xfcc::nearest(&header, Some(hop.fingerprint)).map(str::to_owned).map_err(Reason::Hop)
    }

    /// Who that is.
    pub fn forwarded_client(&self, said: &str) -> Result<Client, Reason> {
        self.client(&xfcc::identity(said).map_err(Reason::Hop)?)
    }

    /// Who a certificate is.
    pub fn client(&self, identity: &Identity) -> Result<Client, Reason> {
        if identity.sha256.is_none() {
            return Err(Reason::NoCertificate);
        }
        match self.policy.identify(identity) {
            Identification::Client(client) => Ok(client),
            Identification::Denied => Err(Reason::Denied),
            Identification::Unknown => Err(Reason::UnknownClient),
        }
    }
}

/// All values of the header that hands over certificates, as one.
fn forwarded_certificate(headers: &Headers) -> Vec<u8> {
    let values = headers.iter().filter(|(name, _)| *name == FORWARDED_CERTIFICATE.as_bytes());
    values.map(|(_, value)| *value).collect::<Vec<_>>().join(&b","[..])
}

fn valid(validity: Validity, now: Timestamp) -> Result<(), Reason> {
    validity.check(now).map_err(|invalid| Reason::CertificateInvalid { invalid, validity })
}

#[cfg(test)]
mod tests;
