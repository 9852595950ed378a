//! Which client a request comes from.

use std::rc::Rc;

use super::client::{Client, Peer, TrustedHop};
use super::forwarded::{Forwarded, forwarded_certificate};
use super::headers::Headers;
use super::host::Host;
use super::load::Gate;
use super::metrics::Metric;
use super::worker::Worker;
use crate::identity::{Examination, Fingerprint, Identity, Signature, xfcc};
use crate::policy::Identification;
use crate::response::Reason;
use crate::time::Timestamp;

impl Gate {
    /// The client of the current request, and the hop that forwards it. A connection's certificate never changes, so a
    /// client that connects itself is identified once per connection. A trusted hop forwards another client's identity
    /// with each request.
    ///
    /// # Errors
    /// Why the request is rejected.
    pub(super) fn current_client<H: Host>(
        &self,
        worker: &Worker<H>,
        headers: &Headers,
        now: Timestamp,
    ) -> Result<(Rc<Client>, Option<TrustedHop>), Reason> {
        let host = &worker.host;
        let verify = |signature: &Signature<'_>| host.verify_signature(signature);
        let by = Examination { now, verify: &verify };
        let connection =
            host.property(b"connection\0id").and_then(|id| Some(u64::from_le_bytes(id.try_into().ok()?)));
        let cached = connection.and_then(|id| self.clients.connection(id));
        let peer = match cached {
            Some(peer) => peer,
            None => {
                let fingerprint = fingerprint(host);
                self.report_foreign_certificate(worker, fingerprint, headers);
                let peer = self.peer(fingerprint, headers, by)?;
                if let Some(id) = connection {
                    self.clients.insert_connection(id, &peer);
                }
                peer
            }
        };
        match peer {
            Peer::Client(client) => Ok((client, None)),
            Peer::Hop(hop) => {
                let forwarded = self.forwarded(headers, &hop, now)?;
                if let Some(client) = self.clients.forwarded(forwarded.key()) {
                    return Ok((client, Some(hop)));
                }
                let client = Rc::new(self.forwarded_client(&forwarded, by)?);
                self.clients.insert_forwarded(forwarded.key(), &client);
                Ok((client, Some(hop)))
            }
        }
    }

    /// Counts and logs that the proxy forwards its client's `x-forwarded-client-cert`, although no hop is trusted: in a
    /// cluster its forwarding mode is not the one that the deployer sets. The request is served all the same: the
    /// certificate that counts is found by the fingerprint that the proxy reports, whatever else the header has, and the
    /// header does not reach the backend.
    fn report_foreign_certificate<H: Host>(
        &self,
        worker: &Worker<H>,
        fingerprint: Option<[u8; 32]>,
        headers: &Headers,
    ) {
        let header = forwarded_certificate(headers);
        let is_own = fingerprint.is_some_and(|own| xfcc::is_proxys_alone(&header, &own));
        if header.is_empty() || is_own || self.policy.trusts_hops() {
            return;
        }
        worker.counters.add(Metric::ForeignCertificates, None, None, None, 1);
        if !self.foreign_certificate_logged.replace(true) {
            worker.host.warn(
                "otlp-gate: the gateway passes on x-forwarded-client-cert of a client, although the policy has no \
                 trustedHops; the filter ignores it; hint: `otlp-gate apply` sets the forwarding mode SANITIZE_SET",
            );
        }
    }

    /// The other end of a connection. `fingerprint` is that of the certificate that the proxy has validated; the
    /// certificate itself is in the request's headers.
    ///
    /// # Errors
    /// The certificate matches no rule or is denied, or the proxy does not pass it on.
    pub fn peer(
        &self,
        fingerprint: Option<[u8; 32]>,
        headers: &Headers,
        by: Examination<'_>,
    ) -> Result<Peer, Reason> {
        let fingerprint = fingerprint.ok_or(Reason::NoCertificate)?;
        let found = xfcc::certificate(&forwarded_certificate(headers), &fingerprint);
        let (der, chain) = found.ok_or(Reason::CertificateWithheld)?;
        let mut identity = Identity::from_der(&der).ok_or(Reason::CertificateUnreadable)?;
        identity.chain = chain;
        self.policy.examine(&mut identity, by);
        let validity = identity.certificate.as_ref().map(|certificate| certificate.validity);
        let validity = validity.ok_or(Reason::CertificateUnreadable)?;
        match self.policy.hop(&identity) {
            Some(hop) => Ok(Peer::Hop(TrustedHop {
                header: hop.header().cloned(),
                ..TrustedHop::new(fingerprint, validity)
            })),
            None => self.client(&identity).map(|client| Peer::Client(Rc::new(client))),
        }
    }

    /// What a hop forwards about its client. The same always means the same client.
    ///
    /// # Errors
    /// It forwards nothing, or not in the form that it should, or its own certificate is not valid at `now`.
    pub fn forwarded(
        &self,
        headers: &Headers,
        hop: &TrustedHop,
        now: Timestamp,
    ) -> Result<Forwarded, Reason> {
        hop.check_validity(now)?;
        Forwarded::read(headers, hop)
    }

    /// The client that a hop forwards.
    ///
    /// # Errors
    /// What it forwards cannot be read, matches no rule, or is denied.
    pub fn forwarded_client(&self, forwarded: &Forwarded, by: Examination<'_>) -> Result<Client, Reason> {
        let mut identity = forwarded.identity()?;
        self.policy.examine(&mut identity, by);
        self.client(&identity)
    }

    /// The client of a certificate.
    ///
    /// # Errors
    /// There is no certificate, or it matches no rule, or it is denied.
    pub fn client(&self, identity: &Identity) -> Result<Client, Reason> {
        if identity.sha256.is_none() {
            return Err(Reason::NoCertificate);
        }
        match self.policy.identify(identity) {
            Identification::Client(resolved) => Ok(Client::new(resolved)),
            Identification::Denied => Err(Reason::Denied),
            Identification::Revoked => Err(Reason::Revoked),
            Identification::Unknown => Err(Reason::UnknownClient),
        }
    }
}

/// The fingerprint of the client's certificate, which the proxy has validated.
fn fingerprint<H: Host>(host: &H) -> Option<[u8; 32]> {
    host.property(b"connection\0sha256_peer_certificate_digest").and_then(|hex| Fingerprint::from_hex(&hex))
}
